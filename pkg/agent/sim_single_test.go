package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/registry"
)

// Single situations in the world of the simulation.

// inWorld runs a test with some hosts up, and network blue.
func inWorld(t *testing.T, hosts int, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.hosts = w.hosts[:hosts]
		defer func() {
			for _, h := range w.hosts {
				h.down()
			}
		}()
		for _, h := range w.hosts {
			h.up()
		}
		time.Sleep(time.Second)
		w.create(simNetwork("blue"))
		time.Sleep(time.Second)
		f(w)
	})
}

func (w *world) create(n agentapi.Network) {
	w.t.Helper()
	if _, err := registry.New(w.etcd.Client(77)).Create(context.Background(), n); err != nil {
		w.t.Fatal(err)
	}
}

// mustAdd attaches a container.
func (h *simHost) mustAdd(network string) netip.Addr {
	h.world.t.Helper()
	addr, ok := h.add(network)
	if !ok {
		h.world.t.Fatalf("%s: no address of %s", h.node, network)
	}
	return addr
}

// saysProblem says whether health has a problem with all of some words.
func (h *simHost) saysProblem(words ...string) bool {
	for _, problem := range h.agent.health("").Problems {
		all := true
		for _, word := range words {
			all = all && strings.Contains(problem, word)
		}
		if all {
			return true
		}
	}
	return false
}

// leads is to where a host sends what is for an address; the zero value: nowhere.
func (h *simHost) leads(network string, addr netip.Addr) netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, pin := range h.programmed[network].hosts.Pins {
		if pin.Address == addr {
			return pin.VTEP
		}
	}
	for _, peer := range h.programmed[network].hosts.Peers {
		for _, block := range peer.Blocks {
			if block.Contains(addr) {
				return peer.VTEP
			}
		}
	}
	return netip.Addr{}
}

// Two hosts with one address on the underlay, as with the default network of a hypervisor: the second says so, names the first, and
// takes nothing of its traffic; nor does it when the first has gone and come back.
func TestTwoHostsOfOneAddress(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		first, other, second := w.hosts[0], w.hosts[1], w.hosts[2]
		there := first.mustAdd("blue")
		other.mustAdd("blue")
		second.mu.Lock()
		second.vtep = first.vtep
		second.mu.Unlock()
		second.agent.wake.set()
		for _, how := range []string{"while it runs", "after a start"} {
			time.Sleep(time.Minute)
			if !second.saysProblem(first.node, first.vtep.String()) {
				t.Errorf("%s: it says %q", how, second.agent.health("").Problems)
			}
			if !first.agent.health("").Healthy || !other.agent.health("").Healthy {
				t.Errorf("%s: the others say %q, %q", how, first.agent.health("").Problems, other.agent.health("").Problems)
			}
			if to := other.leads("blue", there); to != first.vtep {
				t.Errorf("%s: %s is at %v", how, there, to)
			}
			second.down()
			second.up()
		}
	})
}

// A host that loses its address for a moment has no other one, and is reached again when it is back.
func TestAddressThatGoesAndComes(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		away, other := w.hosts[0], w.hosts[1]
		there := away.mustAdd("blue")
		other.mustAdd("blue")
		time.Sleep(time.Second)
		for _, restarted := range []bool{false, true} {
			away.setAddress(false)
			time.Sleep(time.Minute)
			if len(away.agent.health("").Problems) == 0 {
				t.Error("it does not say that it has no address")
			}
			if restarted {
				away.down()
				away.up()
				time.Sleep(time.Minute)
			}
			if to := other.leads("blue", there); to != away.vtep {
				t.Errorf("meanwhile, it is at %v", to)
			}
			away.setAddress(true)
			time.Sleep(time.Minute)
			if to := other.leads("blue", there); to != away.vtep || !away.agent.health("").Healthy {
				t.Errorf("afterwards, it is at %v, and says %q", to, away.agent.health("").Problems)
			}
		}
	})
}

// A network whose subnet has the address of a host is refused where it is asked for; one that an agent of another kind has made reaches no
// host, and each says so. It can be deleted.
func TestNetworkThatSwallowsHosts(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		for _, subnet := range []string{"192.0.2.0/28", "192.0.0.0/16", "192.0.2.240/28"} { // other hosts, etcd
			r, err := http.NewRequestWithContext(context.Background(), http.MethodPut, "/", strings.NewReader(`{"subnets":[{"prefix":"`+subnet+`"}]}`))
			if err != nil {
				t.Fatal(err)
			}
			r.SetPathValue("name", "wide")
			if _, err := h.agent.putNetwork(r); !errors.Is(err, agentapi.ErrInvalid) {
				t.Errorf("%s: %v", subnet, err)
			}
			w.create(agentapi.Network{Name: "wide", Subnets: []agentapi.Subnet{{Prefix: netip.MustParsePrefix(subnet)}}})
			time.Sleep(time.Minute)
			for _, h := range w.hosts {
				_, offered := h.offered["wide"]
				if _, there := h.programmed["wide"]; there || offered || !h.saysProblem("wide", "would cut this host off") {
					t.Errorf("%s: %s is there: %v, %v; it says %q", subnet, h.node, there, offered, h.agent.health("").Problems)
				}
			}
			if err := registry.New(w.etcd.Client(78)).Delete(context.Background(), "wide"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if !h.agent.health("").Healthy {
				t.Errorf("%s: afterwards: %q", subnet, h.agent.health("").Problems)
			}
		}
	})
}

// Blocks that containers needed go back when these have gone: all but one after a while, and the last with the membership.
func TestBlocksGoBack(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		var all []netip.Addr
		for range 20 {
			all = append(all, h.mustAdd("blue"))
			time.Sleep(time.Second)
		}
		blocks := func() int { return len(w.etcd.Keys("/fairway/v1/net/blue/blocks/")) }
		if blocks() < 3 {
			t.Fatalf("20 containers have %d blocks of 7", blocks())
		}
		for _, addr := range all[1:] {
			h.del("blue", addr)
		}
		time.Sleep(2*simLeave + drainFor)
		if blocks() != 1 {
			t.Errorf("one container has %d blocks", blocks())
		}
		h.del("blue", all[0])
		time.Sleep(simLeave)
		h.agent.askRemote() // as an audit does
		time.Sleep(simLeave)
		if left := w.etcd.Keys("/fairway/v1/net/blue/"); len(left) > 0 {
			t.Errorf("without containers it has %v", left)
		}
	})
}

// A pin or a block of somebody else within a block of a host leads nothing away from it, whoever wrote it, and is named.
func TestForeignRecordsLeadNothingAway(t *testing.T) {
	for _, record := range []struct{ key, value string }{
		{"pins/%s", `{"node":"host2","containerID":"x","ifName":"eth0"}`}, {"blocks/%s/32", "host2"}, {"blocks/10.42.0.0/24", "host2"}, {"blocks/%s/30", "host2"},
	} {
		inWorld(t, 3, func(w *world) {
			there := w.hosts[0].mustAdd("blue")
			w.hosts[1].mustAdd("blue")
			w.hosts[2].mustAdd("blue")
			time.Sleep(time.Second)
			key := record.key
			if strings.Contains(key, "%s/30") {
				masked, _ := there.Prefix(30)
				key = "blocks/" + masked.String()
			} else if strings.Contains(key, "%s") {
				key = fmt.Sprintf(key, there)
			}
			w.etcd.Put("/fairway/v1/net/blue/"+key, record.value)
			time.Sleep(10 * time.Second)
			for _, h := range w.hosts {
				if to := h.leads("blue", there); to != w.hosts[0].vtep {
					t.Errorf("%s: on %s, %s is at %v", key, h.node, there, to)
				}
			}
			if named := there.String(); strings.HasPrefix(key, "pins") && !w.hosts[1].saysProblem(named) {
				t.Errorf("%s: host1 says %q", key, w.hosts[1].agent.health("").Problems)
			}
		})
	}
}

// counting is a store that counts the transactions it is asked for, and fails them.
type counting struct {
	etcd.Store
	asked atomic.Int64
}

func (c *counting) Txn(context.Context, etcd.Txn) (etcd.Result, error) {
	c.asked.Add(1)
	return etcd.Result{}, etcd.ErrUnavailable
}

func (c *counting) Range(context.Context, etcd.Range) (etcd.Page, error) {
	c.asked.Add(1)
	return etcd.Page{}, etcd.ErrUnavailable
}

// After the first request that etcd does not answer, a pass asks for nothing more, however many networks there are; and nothing is forgotten.
func TestPublishingEndsWithTheFirstFailure(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		for i := range 10 {
			w.create(agentapi.Network{Name: fmt.Sprint("net", i), Subnets: []agentapi.Subnet{{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(100 + i)}), 24)}}})
		}
		time.Sleep(time.Second)
		for i := range 10 {
			h.mustAdd(fmt.Sprint("net", i))
		}
		s, ok := h.agent.cache.state()
		if !ok {
			t.Fatal("no state")
		}
		a, store := h.agent, &counting{}
		h.down()
		a.registry = registry.New(store)
		p := publisher{Agent: a, unused: make(map[string]map[netip.Addr]time.Time), used: make(map[string]usage), claims: make(map[string]claims)}
		a.cache.mark(&a.cache.remote)
		if again := p.all(context.Background(), s); again == 0 || store.asked.Load() != 1 {
			t.Errorf("%d requests, again after %v", store.asked.Load(), again)
		}
		if left := a.cache.take(&a.cache.remote); len(left.names) < 10 && !left.all {
			t.Errorf("only %v are left to do", left)
		}
	})
}

// The least MTU of the members is that of a network, and grows again with it.
func TestLeastMTU(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		for i, h := range w.hosts {
			h.mu.Lock()
			h.mtu = []int{9000, 1500, 9000}[i]
			h.mu.Unlock()
			h.agent.wake.set()
			h.mustAdd("blue")
		}
		want := func(mtu int) {
			t.Helper()
			time.Sleep(time.Minute)
			for _, h := range w.hosts {
				if got := h.programmed["blue"].mtu; got != mtu {
					t.Errorf("%s has MTU %d, want %d", h.node, got, mtu)
				}
			}
		}
		want(1500)
		w.hosts[1].mu.Lock()
		w.hosts[1].mtu = 4000
		w.hosts[1].mu.Unlock()
		w.hosts[1].agent.wake.set()
		want(4000)
	})
}

// Who joins is answered when the plugin can read it: a disk may be slow.
func TestMembershipIsAnsweredByTheDocument(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		h := w.hosts[0]
		h.up()
		defer h.down()
		time.Sleep(time.Second)
		if _, err := registry.New(w.etcd.Client(77)).Create(context.Background(), simNetwork("blue")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if addr, ok := h.add("blue"); !ok {
			t.Error("the first ADD got no address")
		} else {
			h.del("blue", addr)
		}
		time.Sleep(simLeave)
		h.agent.askRemote()
		time.Sleep(drainFor / 2)
		if h.mayTake("blue") {
			t.Error("the block is not withheld")
		}
		if _, ok := h.add("blue"); !ok {
			t.Error("an ADD while the block was withheld got no address")
		}
	})
}

// Nothing of a network is taken away between when etcd has told of it and of its members: an agent that was killed may have made a way that it
// had not written down.
func TestMembersThatAreNotKnownYet(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.mustAdd("blue")
		l := h.agent.newLocal()
		if !l.told("blue") {
			w.t.Error("the members are known")
		}
		s, _ := h.agent.cache.state()
		known := *s.Networks["blue"]
		known.Followed = false
		s.Networks = maps.Clone(s.Networks)
		s.Networks["blue"] = &known
		h.agent.cache.setState(s)
		if l.told("blue") || !l.told("red") {
			w.t.Error("the members of a network that the host is on are not known, and those of one that it is not on do not matter")
		}
	})
}

// What kept a host from a network is no answer to an ADD that is asked for when it is mended, wherever the agent is meanwhile with finding
// it anew. As long as it is not mended, an ADD is told of it.
func TestOldFaultIsNoAnswer(t *testing.T) {
	for moment := range 12 {
		inWorld(t, 1, func(w *world) {
			h := w.hosts[0]
			h.fills(true)
			if err := h.agent.enter(w.t.Context(), "blue"); !errors.Is(err, errFull) {
				w.t.Fatalf("without room: %v", err)
			}
			h.agent.cache.mark(&h.agent.cache.local)
			h.agent.wake.set()
			time.Sleep(time.Duration(moment) * simDisk / 4)
			h.fills(false)
			h.mustAdd("blue")
		})
	}
}

// fills has nothing be written to a host's disk, or has it be again.
func (h *simHost) fills(full bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.full = full
}

// A container that came first of a network while the agent was stopped is known to nobody. Its block stays its host's, however long that
// takes; and no other address is given out once others could have it.
func TestFirstContainerWithoutAnAgent(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		h := w.hosts[1]
		w.hosts[0].mustAdd("blue")
		if err := h.agent.enter(w.t.Context(), "blue"); err != nil {
			t.Fatal(err)
		}
		h.down()
		there := h.mustAdd("blue")
		time.Sleep(simHold)
		if addr, ok := h.add("blue"); ok {
			t.Errorf("%v was given out by a host that was not seen for the hold", addr)
		}
		time.Sleep(3 * simHold)
		w.check()
		block, _ := there.Prefix(29)
		if owner := w.etcd.Keys("/")["/fairway/v1/net/blue/blocks/"+block.String()]; owner != h.node {
			t.Errorf("block %v of the container is %q's", block, owner)
		}
		h.up()
		time.Sleep(5 * time.Minute)
		w.check()
		w.checkSettled()
		h.mustAdd("blue")
	})
}

// What the store has lost of a host whose agent does not run is written again also by one that is about to leave the network.
func TestRestoredByOneThatLeaves(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		silent, leaving := w.hosts[0], w.hosts[1]
		addr := leaving.mustAdd("blue")
		time.Sleep(time.Second)
		backup := w.etcd.Backup()
		there := silent.mustAdd("blue")
		time.Sleep(time.Minute)
		silent.down()
		leaving.del("blue", addr)
		time.Sleep(simLeave + 30*time.Second) // it drains its block, or has not been asked yet
		w.etcd.Restore(backup)
		time.Sleep(registry.SettleFor)
		block, _ := there.Prefix(29)
		if owner := w.etcd.Keys("/")["/fairway/v1/net/blue/blocks/"+block.String()]; owner != silent.node {
			t.Errorf("block %v of the container is %q's", block, owner)
		}
		leaving.agent.askRemote()
		time.Sleep(10 * time.Minute)
		leaving.agent.askRemote()
		time.Sleep(10 * time.Minute)
		if leaving.agent.cache.isJoined("blue") {
			t.Error("it has not left")
		}
	})
}

// A backup has a pin of a container that was removed before another host claimed the block around it. When it is restored, the block stays
// that host's, also while its agent is stopped.
func TestRestoredPinInABlock(t *testing.T) {
	for _, silent := range []bool{false, true} {
		inWorld(t, 3, func(w *world) {
			h, other, third := w.hosts[0], w.hosts[1], w.hosts[2]
			third.mustAdd("blue")
			var pinned []netip.Addr // one in each block, as it is not known which the host will claim
			for i := range 32 {
				if addr := netip.AddrFrom4([4]byte{10, 42, 0, byte(8*i + 1)}); other.pin("blue", addr) {
					pinned = append(pinned, addr)
				}
			}
			time.Sleep(time.Second)
			backup := w.etcd.Backup()
			for _, addr := range pinned {
				other.del("blue", addr)
			}
			for range 3 {
				other.agent.askRemote()
				time.Sleep(5 * time.Minute)
			}
			addr := h.mustAdd("blue")
			block, _ := addr.Prefix(29)
			if !slices.ContainsFunc(pinned, block.Contains) {
				t.Fatalf("%v had no pin, so that this shows nothing", block)
			}
			time.Sleep(time.Minute)
			if silent {
				h.down()
				time.Sleep(2 * simTTL)
			}
			w.etcd.Restore(backup)
			for range 10 {
				time.Sleep(time.Minute)
				if third.leads("blue", addr) != h.vtep {
					t.Fatalf("%v, silent %v: %s leads to %v\n%v", addr, silent, third.node, third.leads("blue", addr), w.etcd.Keys("/fairway/v1/net"))
				}
			}
			if owner := w.etcd.Keys("/")["/fairway/v1/net/blue/blocks/"+block.String()]; owner != h.node {
				t.Errorf("silent %v: block %v of the container is %q's", silent, block, owner)
			}
		})
	}
}

// A backup has a block that its host gave up before another host pinned an address in it. When it is restored, the container keeps the address,
// whichever of the two agents are stopped.
func TestRestoredBlockAroundAPin(t *testing.T) {
	for stopped := range 4 {
		inWorld(t, 3, func(w *world) {
			h, former, third := w.hosts[0], w.hosts[1], w.hosts[2]
			third.mustAdd("blue")
			addr := former.mustAdd("blue")
			time.Sleep(time.Second)
			backup := w.etcd.Backup()
			former.del("blue", addr)
			for range 3 {
				former.agent.askRemote()
				time.Sleep(5 * time.Minute)
			}
			if !h.pin("blue", addr) {
				t.Fatal("the block was not given up")
			}
			time.Sleep(time.Minute)
			for i, s := range []*simHost{h, former} {
				if stopped>>i&1 == 1 {
					s.down()
				}
			}
			time.Sleep(2 * simTTL)
			w.etcd.Restore(backup)
			for range 10 {
				time.Sleep(time.Minute)
				if third.leads("blue", addr) != h.vtep {
					t.Fatalf("stopped %b: %s leads to %v\n%v", stopped, third.node, third.leads("blue", addr), w.etcd.Keys("/fairway/v1/net"))
				}
			}
			if pin := w.etcd.Keys("/")["/fairway/v1/net/blue/pins/"+addr.String()]; !strings.Contains(pin, h.node) {
				t.Errorf("stopped %b: the pin in etcd is %q", stopped, pin)
			}
		})
	}
}

// A copy of a host with its name and machine ID, while the host's agent is stopped, gives out no address, neither before it reaches etcd nor
// after. When the host is off, the copy is taken for it; and then the host for a copy, when it comes back.
func TestCopyOfASilentHost(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		h := w.hosts[1]
		w.hosts[0].mustAdd("blue")
		h.mustAdd("blue")
		time.Sleep(time.Minute)
		h.down()
		clone := w.newHost(h.node, 50, 50)
		clone.machine, clone.vtep = h.machine, visitorVTEP
		clone.disk, clone.small, clone.who, clone.fence = h.disk, h.small, h.who, h.fence
		w.mu.Lock()
		w.hosts = append(w.hosts, clone)
		w.mu.Unlock()
		clone.setCut(true)
		clone.up()
		time.Sleep(time.Minute)
		if addr, ok := clone.add("blue"); ok {
			t.Errorf("%v is given out by a copy that has not reached etcd", addr)
		}
		clone.setCut(false)
		time.Sleep(time.Minute)
		if addr, ok := clone.add("blue"); ok {
			t.Errorf("%v is given out by a copy", addr)
		}
		if !clone.saysProblem("by the machine at", h.vtep.String(), "forget") {
			t.Errorf("the copy says %q", clone.agent.health("").Problems)
		}
		h.setAddress(false) // it is off
		w.del(h)
		time.Sleep(time.Minute)
		clone.mustAdd("blue")
		clone.down()
		time.Sleep(5 * time.Minute)
		h.setAddress(true)
		for _, rebooted := range []bool{false, true} {
			if rebooted {
				h.reboot()
			}
			h.up()
			time.Sleep(time.Minute)
			if addr, ok := h.add("blue"); ok {
				t.Errorf("%v is given out by the host (rebooted %v) while a copy has its containers", addr, rebooted)
			}
		}
	})
}

// del removes all containers of a host.
func (w *world) del(h *simHost) {
	for network, addrs := range h.containers {
		for addr := range maps.Clone(addrs) {
			h.del(network, addr)
		}
	}
}

// A change of which no event was heard is found when everything is read again.
func TestEventThatWasLost(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		first, second, h := w.hosts[0], w.hosts[1], w.hosts[2]
		there := first.mustAdd("blue")
		second.mustAdd("blue")
		h.mustAdd("blue")
		time.Sleep(time.Minute)
		block, _ := there.Prefix(29)
		first.down()
		w.del(first)
		w.etcd.Unheard("/fairway/v1/net/blue/blocks/"+block.String(), second.node)
		time.Sleep(time.Minute)
		if to := h.leads("blue", there); to != first.vtep {
			t.Fatalf("%v is at %v: the event was heard", there, to)
		}
		time.Sleep(8 * time.Hour)
		if to := h.leads("blue", there); to == first.vtep { // the second may have given it back meanwhile
			t.Errorf("%v is at %v, which has not had its block for hours", there, to)
		}
	})
}

// A host that lost a block with containers in it says which, goes on with all else, and is well again when they have gone.
func TestContainersInABlockOfAnother(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		h, other, third := w.hosts[0], w.hosts[1], w.hosts[2]
		stranded, reached := h.mustAdd("blue"), other.mustAdd("blue")
		time.Sleep(time.Minute)
		block, _ := stranded.Prefix(29)
		w.etcd.Put("/fairway/v1/net/blue/blocks/"+block.String(), other.node)
		time.Sleep(time.Minute)
		if !h.saysProblem("blue", stranded.String(), "attach") {
			t.Errorf("it says %q", h.agent.health("").Problems)
		}
		late := third.mustAdd("blue")
		time.Sleep(time.Minute)
		for addr, want := range map[netip.Addr]netip.Addr{reached: other.vtep, late: third.vtep} {
			if to := h.leads("blue", addr); to != want {
				t.Errorf("%v is at %v, want %v", addr, to, want)
			}
		}
		anew := h.mustAdd("blue")
		if block.Contains(anew) {
			t.Errorf("%v is given out of a block that is another's", anew)
		}
		h.del("blue", stranded)
		time.Sleep(time.Minute)
		w.check()
		w.checkSettled()
		if to := h.leads("blue", stranded); to != other.vtep {
			t.Errorf("the block is at %v, want %v", to, other.vtep)
		}
	})
}

// A host that is called otherwise keeps its name as long as it owns something, and has the new one when it does not.
func TestRenamedHost(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h, other := w.hosts[0], w.hosts[1]
		there := h.mustAdd("blue")
		other.mustAdd("blue")
		time.Sleep(time.Minute)
		h.down()
		h.hostname = "renamed"
		h.up()
		time.Sleep(2 * simHold)
		w.check()
		if h.node != "host0" || other.leads("blue", there) != h.vtep {
			t.Errorf("it is %s, and %v is at %v", h.node, there, other.leads("blue", there))
		}
		w.del(h)
		for range 3 {
			h.agent.askRemote()
			time.Sleep(simLeave + time.Minute)
		}
		h.down()
		h.up()
		time.Sleep(time.Minute)
		h.mustAdd("blue")
		if h.node != "renamed" || !h.agent.health("").Healthy {
			t.Errorf("it is %s, and says %q", h.node, h.agent.health("").Problems)
		}
	})
}

// A network that is repaired again and again is said to be fought over, and one that was repaired now and then is not.
func TestRepeatedRepairs(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		l, drift := w.hosts[0].agent.newLocal(), errors.New("something is missing")
		for range 5 * repairsMax {
			if err := l.repeated("blue", drift); err != nil {
				t.Fatalf("now and then: %v", err)
			}
			time.Sleep(repairsWithin / (repairsMax - 1))
		}
		time.Sleep(2 * repairsWithin)
		var err error
		for range repairsMax + 1 {
			err = l.repeated("blue", drift)
		}
		if err == nil || !strings.Contains(err.Error(), "something is missing") {
			t.Errorf("many at once: %v", err)
		}
		if err := l.repeated("red", nil); err != nil {
			t.Errorf("another network: %v", err)
		}
	})
}

// A network that is made and deleted over and over, as by a pipeline's jobs, is not fought over.
func TestMadeAnewIsNoRepair(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		for range 3 * repairsMax {
			h.mustAdd("blue")
			if h.saysProblem("repaired") {
				w.t.Fatalf("it says %q", h.agent.health("").Problems)
			}
			w.del(h)
			time.Sleep(100 * time.Millisecond)
			r := (&http.Request{}).WithContext(w.t.Context())
			r.SetPathValue("name", "blue")
			if _, err := h.agent.deleteNetwork(r); err != nil {
				w.t.Fatal(err)
			}
			w.create(simNetwork("blue"))
			time.Sleep(100 * time.Millisecond)
		}
	})
}

// Links that are not the agent's wake nobody; its own, and the underlay's, do.
func TestForeignLinks(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a := w.hosts[0].agent
		for _, name := range []string{"cali1234", "lxc1", "tap0", "docker0", "veth12", "fw12345"} {
			passes := a.cache.passes()
			for range 10 {
				a.changed(kernel.Event{Link: name})
			}
			time.Sleep(time.Second)
			select {
			case <-passes:
				t.Errorf("link %s woke the agent", name)
			default:
			}
		}
		for _, e := range []kernel.Event{{Link: "fwvx4096"}, {Link: "eth0"}, {}, {Link: "eth7", Default: true}} {
			passes := a.cache.passes()
			a.changed(e)
			time.Sleep(time.Second)
			select {
			case <-passes:
			default:
				t.Errorf("%+v did not wake the agent", e)
			}
		}
	})
}

// Containers that come and go on a host that has some are no event to the others.
func TestContainersAreNoEvent(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h, other := w.hosts[0], w.hosts[1]
		h.mustAdd("blue")
		other.mustAdd("blue")
		time.Sleep(20 * time.Second)
		w.etcd.SetNoSpace(true) // nobody can write: what is heard would be seen
		passes := other.agent.cache.passes()
		before := w.etcd.Keys("/fairway/v1/net/blue/")
		for range 3 {
			h.del("blue", h.mustAdd("blue"))
			time.Sleep(time.Second)
		}
		select {
		case <-passes:
			t.Error("another host has looked at its networks")
		default:
		}
		if h.saysProblem("blue") || !maps.Equal(before, w.etcd.Keys("/fairway/v1/net/blue/")) {
			t.Errorf("something was to be written: %q", h.agent.health("").Problems)
		}
		w.etcd.SetNoSpace(false)
	})
}

// A hundred records that cannot be used are one problem, of a few lines.
func TestManyFaults(t *testing.T) {
	var faults []overlay.Fault
	for i := range 100 {
		faults = append(faults, overlay.Fault{Entry: fmt.Sprint("host x", i), Reason: "it has an address of the other family"})
	}
	err := faultsOf(&registry.Network{Faults: map[string]error{"nodes/y": errors.New("unreadable")}}, faults)
	if lines := strings.Count(err.Error(), "\n") + 1; lines != 6 || !strings.Contains(err.Error(), "nodes/y") || !strings.Contains(err.Error(), "and 96 more") {
		t.Errorf("%d lines: %v", lines, err)
	}
}
