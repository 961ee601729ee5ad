package registry

import (
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"sync"
	"testing"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd"
	"github.com/fairway-cni/fairway/pkg/etcd/etcdsim"
)

func TestFreeBlock(t *testing.T) {
	taken := func(blocks ...string) map[netip.Prefix]string {
		m := make(map[netip.Prefix]string)
		for _, b := range blocks {
			m[prefix(b)] = "other"
		}
		return m
	}
	for _, test := range []struct {
		name   string
		subnet string
		length int
		taken  map[netip.Prefix]string
		index  int64
		want   string // empty: none
	}{
		{"first", "10.0.0.0/24", 26, nil, 0, "10.0.0.0/26"},
		{"last", "10.0.0.0/24", 26, nil, 3, "10.0.0.192/26"},
		{"past a taken one", "10.0.0.0/24", 26, taken("10.0.0.64/26"), 1, "10.0.0.128/26"},
		{"around the end", "10.0.0.0/24", 26, taken("10.0.0.192/26"), 3, "10.0.0.0/26"},
		{"only one left", "10.0.0.0/24", 26, taken("10.0.0.0/26", "10.0.0.128/26", "10.0.0.192/26"), 2, "10.0.0.64/26"},
		{"full", "10.0.0.0/25", 26, taken("10.0.0.0/26", "10.0.0.64/26"), 1, ""},
		{"one block", "10.0.0.0/26", 26, nil, 0, "10.0.0.0/26"},
		{"IPv6", "fd00::/64", 80, taken("fd00::/80"), 0, "fd00::1:0:0:0/80"},
		{"all of IPv6", "::/0", 126, nil, 1 << 40, "::400:0:0/126"},
	} {
		t.Run(test.name, func(t *testing.T) {
			subnet := agentapi.Subnet{Prefix: prefix(test.subnet), BlockLength: test.length}
			got, ok := freeBlock(subnet, test.taken, func(*big.Int) *big.Int { return big.NewInt(test.index) })
			if ok != (test.want != "") || ok && got.String() != test.want {
				t.Errorf("got %v %v, want %q", got, ok, test.want)
			}
		})
	}
}

func TestRandomIndexStaysBelow(t *testing.T) {
	for _, bits := range []uint{0, 1, 20, 62, 63, 64, 126} {
		count := new(big.Int).Lsh(big.NewInt(1), bits)
		for range 100 {
			if i := randomIndex(count); i.Sign() < 0 || i.Cmp(count) >= 0 {
				t.Fatalf("index %s of %s", i, count)
			}
		}
	}
}

// claimAtOnce has hosts claim one block each at the same time, each by a client of its own, and gives the errors.
func claimAtOnce(t *testing.T, sim *etcdsim.Sim, n *Network, hosts int) []error {
	t.Helper()
	errs := make([]error, hosts)
	var start, all sync.WaitGroup
	start.Add(1)
	for i := range hosts {
		c := New(sim.Client(uint64(i)))
		alive(t, sim, fmt.Sprintf("host%d", i))
		all.Go(func() {
			start.Wait()
			_, errs[i] = claimAs(t, c, n, fmt.Sprintf("host%d", i))
		})
	}
	start.Done()
	all.Wait()
	return errs
}

// claimAs claims a block of the first subnet for a node whose boot ID is its name.
func claimAs(t *testing.T, c *Client, n *Network, node string) (netip.Prefix, error) {
	t.Helper()
	return c.Claim(t.Context(), Memory{}, n, node, node, n.Definition.Subnets[0])
}

func TestFiftyHostsAndJustEnoughBlocks(t *testing.T) {
	sim, c := newStore(t)
	// 64 blocks, 14 of which are taken.
	n := create(t, c, network("tight", "10.42.0.0/24", 30))
	for i := range 14 {
		alive(t, sim, fmt.Sprintf("early%d", i))
		if _, err := claimAs(t, c, n, fmt.Sprintf("early%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	for i, err := range claimAtOnce(t, sim, n, 50) {
		if err != nil {
			t.Errorf("host%d: %v", i, err)
		}
	}
	owners := make(map[string]bool)
	for _, node := range current(t, c).Networks["tight"].Blocks {
		owners[node] = true
	}
	if len(owners) != 64 {
		t.Errorf("%d owners of 64 blocks, want one each", len(owners))
	}
	alive(t, sim, "late")
	if _, err := claimAs(t, c, n, "late"); !errors.Is(err, ErrExhausted) {
		t.Errorf("claim when all are taken: error %v, want one that is ErrExhausted", err)
	}
}

func TestTwoHostsAndOneBlock(t *testing.T) {
	sim, c := newStore(t)
	n := create(t, c, network("one", "10.42.0.0/30", 30))
	errs := claimAtOnce(t, sim, n, 2)
	if (errs[0] == nil) == (errs[1] == nil) {
		t.Fatalf("errors %v, want one winner", errs)
	}
	if err := errors.Join(errs...); !errors.Is(err, ErrExhausted) {
		t.Errorf("the loser's error is %v, want one that is ErrExhausted", err)
	}
}

func TestClaimOfANetworkThatIsGone(t *testing.T) {
	sim, c := newStore(t)
	alive(t, sim, "a", "b")
	old := create(t, c, network("blue", "10.42.0.0/16", 26))
	if err := c.Delete(t.Context(), "blue"); err != nil {
		t.Fatal(err)
	}
	create(t, c, network("blue", "10.42.0.0/16", 26))
	_, err := claimAs(t, c, old, "a")
	if !errors.Is(err, agentapi.ErrNotFound) {
		t.Errorf("error %v, want one that is ErrNotFound", err)
	}
	if blocks := current(t, c).Networks["blue"].Blocks; len(blocks) != 0 {
		t.Errorf("blocks %v were claimed in the network of the same name", blocks)
	}
}

func TestRegain(t *testing.T) {
	sim, c := newStore(t)
	alive(t, sim, "a", "b")
	n := create(t, c, network("blue", "10.42.0.0/16", 26))
	for range 2 { // the second time, it is the host's already
		if err := c.Regain(t.Context(), n, "a", "a", prefix("10.42.1.0/26")); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Regain(t.Context(), n, "b", "b", prefix("10.42.1.0/26")); !errors.Is(err, agentapi.ErrExists) {
		t.Errorf("error %v for another's block, want one that is ErrExists", err)
	}
	if err := c.Pin(t.Context(), Memory{}, n, addr("10.42.2.9"), Pin{Node: "a", ContainerID: "c", IfName: "eth0"}); err != nil {
		t.Fatal(err)
	}
	// The last two are of a network that had the name before.
	for _, block := range []string{"10.42.2.0/26", "10.42.3.0/24", "10.43.0.0/26"} {
		if err := c.Regain(t.Context(), n, "b", "b", prefix(block)); !errors.Is(err, agentapi.ErrExists) {
			t.Errorf("%s: error %v, want one that is ErrExists", block, err)
		}
	}
	if blocks := current(t, c).Networks["blue"].Blocks; len(blocks) != 1 {
		t.Errorf("blocks %v, want one", blocks)
	}
}

// A backup has a pin whose container had gone by the time that a host claimed its block. The host claims it again over the pin, and not over
// one that was made since.
func TestRegainOverARestoredPin(t *testing.T) {
	for _, c := range []struct {
		name  string
		since bool // the pin was made since, too
		over  bool // by another, while the host is silent
		want  string
	}{{"from before", false, false, "b"}, {"made since", true, false, ""}, {"for a silent host", false, true, "b"}} {
		t.Run(c.name, func(t *testing.T) {
			sim, client := newStore(t)
			alive(t, sim, "a", "b")
			n := create(t, client, network("blue", "10.42.0.0/16", 26))
			pin := Pin{Node: "a", ContainerID: "c", IfName: "eth0"}
			if err := client.Pin(t.Context(), Memory{}, n, addr("10.42.2.9"), pin); err != nil {
				t.Fatal(err)
			}
			n = current(t, client).Networks["blue"]
			block := prefix("10.42.2.0/26")
			if err := client.RegainOver(t.Context(), n, "b", "b", block); !errors.Is(err, agentapi.ErrExists) {
				t.Fatalf("of a store that did not go back: %v, want ErrExists", err)
			}
			n.RestoredPins = map[netip.Addr]int64{addr("10.42.2.9"): n.Modified}
			if c.since {
				sim.Put(pinKey("blue", addr("10.42.2.9")), `{"node":"a"}`)
			}
			if c.over {
				sim.Delete(heartbeatKey("b"))
				if _, err := client.RestoreMember(t.Context(), n, Lost{Node: "b", VTEP: addr("192.0.2.12"), Blocks: []netip.Prefix{block}, Over: true}); err != nil {
					t.Fatal(err)
				}
			} else if err := client.RegainOver(t.Context(), n, "b", "b", block); (err != nil) != c.since || c.since && !errors.Is(err, etcd.ErrUnavailable) {
				t.Fatalf("error %v", err)
			}
			now := current(t, client).Networks["blue"]
			if now.Blocks[block] != c.want || (len(now.Pins) == 0) != (c.want != "") {
				t.Errorf("blocks %v, pins %v, want %q", now.Blocks, now.Pins, c.want)
			}
		})
	}
}

// The answer to a claim is lost, and the state that would show the block has not come yet.
func TestClaimIsNotDoubled(t *testing.T) {
	sim, c := newStore(t)
	alive(t, sim, "a", "b")
	n := create(t, c, network("blue", "10.42.0.0/29", 30))
	var first netip.Prefix
	for i := range 3 {
		block, err := claimAs(t, c, n, "a")
		if err != nil || i > 0 && block != first {
			t.Fatalf("claim %d by what is known from before: %v, %v, want %v again", i+1, block, err, first)
		}
		first = block
	}
	seen := current(t, c).Networks["blue"]
	second, err := claimAs(t, c, seen, "a")
	if err != nil || second == first {
		t.Errorf("claim of one more: %v, %v, want another than %v", second, err, first)
	}
	if _, err := claimAs(t, c, current(t, c).Networks["blue"], "a"); !errors.Is(err, ErrExhausted) {
		t.Errorf("claim of a third of two: error %v, want one that is ErrExhausted", err)
	}
}

func TestPins(t *testing.T) {
	sim, c := newStore(t)
	alive(t, sim, "a", "b")
	n := create(t, c, network("blue", "10.42.0.0/24", 25))
	if err := c.Regain(t.Context(), n, "b", "b", prefix("10.42.0.0/25")); err != nil {
		t.Fatal(err)
	}
	mine := Pin{Node: "a", ContainerID: "c1", IfName: "eth0"}
	other := Pin{Node: "b", ContainerID: "c2", IfName: "eth0"}
	for _, test := range []struct {
		name string
		addr string
		pin  Pin
		kind error
		want string
	}{
		{"free", "10.42.0.200", mine, nil, ""},
		{"again", "10.42.0.200", mine, nil, ""},
		{"another's pin", "10.42.0.200", other, agentapi.ErrInUse, "address 10.42.0.200 is that of container c1 on host a: give another"},
		{"another's block", "10.42.0.9", mine, agentapi.ErrInUse, "address 10.42.0.9 lies in a block of host b: attach the container there, or give an address of a free block"},
		{"one's own block", "10.42.0.9", other, nil, ""},
		{"outside", "10.43.0.9", mine, agentapi.ErrInvalid, "address 10.43.0.9 lies in no subnet of network blue: give one of 10.42.0.0/24"},
	} {
		err := c.Pin(t.Context(), Memory{}, n, addr(test.addr), test.pin)
		if !errors.Is(err, test.kind) || err != nil && err.Error() != test.want {
			t.Errorf("%s: error %v, want %q", test.name, err, test.want)
		}
	}
	n = current(t, c).Networks["blue"]
	if _, err := claimAs(t, c, n, "b"); !errors.Is(err, ErrExhausted) {
		t.Errorf("claim of the block with the pin: error %v, want one that is ErrExhausted", err)
	}
	if err := c.Unpin(t.Context(), "blue", addr("10.42.0.200"), other); err != nil {
		t.Error(err)
	}
	if pins := current(t, c).Networks["blue"].Pins; pins[addr("10.42.0.200")] != mine || len(pins) != 1 {
		t.Errorf("pins %v after another host took it away, want it to stay", pins)
	}
	if err := c.Unpin(t.Context(), "blue", addr("10.42.0.200"), mine); err != nil {
		t.Error(err)
	}
	if _, err := claimAs(t, c, n, "b"); err != nil {
		t.Errorf("claim after the pin has gone: %v", err)
	}
}

// A pin that changes meanwhile, somewhere else, costs a block nothing.
func TestRegainBesideChangingPins(t *testing.T) {
	sim, c := newStore(t)
	alive(t, sim, "a")
	n := create(t, c, network("blue", "10.42.0.0/16", 26))
	ends := make(chan struct{})
	var pins sync.WaitGroup
	pins.Go(func() {
		p := Pin{Node: "b", ContainerID: "c", IfName: "eth0"}
		for {
			select {
			case <-ends:
				return
			default:
			}
			if c.Pin(t.Context(), Memory{}, n, addr("10.42.200.1"), p) != nil || c.Unpin(t.Context(), "blue", addr("10.42.200.1"), p) != nil {
				t.Error("the pin does not change")
				return
			}
		}
	})
	for i := range 20 {
		if err := c.Regain(t.Context(), n, "a", "a", prefix(fmt.Sprintf("10.42.%d.0/26", i))); err != nil {
			t.Errorf("block %d: %v", i, err)
		}
	}
	close(ends)
	pins.Wait()
}

// Nothing new is claimed while hosts claim again what they had.
func TestClaimsWhileTheStoreSettles(t *testing.T) {
	sim, c := newStore(t)
	alive(t, sim, "a")
	n := create(t, c, network("blue", "10.42.0.0/16", 26))
	sim.Put(settling, "")
	if _, err := claimAs(t, c, n, "a"); !errors.Is(err, ErrSettling) {
		t.Errorf("claim: %v, want ErrSettling", err)
	}
	if err := c.Regain(t.Context(), n, "a", "a", prefix("10.42.1.0/26")); err != nil {
		t.Errorf("regain: %v", err)
	}
	pin := Pin{Node: "a", ContainerID: "c", IfName: "eth0"}
	if err := c.Pin(t.Context(), Memory{}, n, addr("10.42.2.9"), pin); !errors.Is(err, ErrSettling) || !errors.Is(err, etcd.ErrUnavailable) {
		t.Errorf("pin: %v, want ErrSettling", err)
	}
	if err := c.RegainPin(t.Context(), n, addr("10.42.2.9"), pin, false); err != nil {
		t.Errorf("regain of a pin: %v", err)
	}
	sim.Delete(settling)
	if _, err := claimAs(t, c, n, "a"); err != nil {
		t.Error(err)
	}
	sim.Put(heartbeatKey("a"), "another boot")
	if _, err := claimAs(t, c, current(t, c).Networks["blue"], "a"); !errors.Is(err, ErrNodeTaken) {
		t.Errorf("claim by a node that is another's: %v, want ErrNodeTaken", err)
	}
}

// A guess reads nothing, finds a free block in a network with room, and gives up where pins may lie in it.
func TestGuess(t *testing.T) {
	sim, c := newStore(t)
	alive(t, sim, "a", "b")
	n := create(t, c, network("blue", "10.42.0.0/16", 26))
	subnet := n.Definition.Subnets[0]
	first, ok, err := c.Guess(t.Context(), Memory{}, n, "a", "a", subnet)
	if !ok || err != nil {
		t.Fatal(first, ok, err)
	}
	if again, ok, err := c.Guess(t.Context(), Memory{}, n, "a", "a", subnet); again != first || !ok || err != nil {
		t.Errorf("again by what is known from before: %v, %v, %v, want %v", again, ok, err, first)
	}
	if next, ok, err := c.Guess(t.Context(), Memory{}, current(t, c).Networks["blue"], "a", "a", subnet); next == first || !ok || err != nil {
		t.Errorf("one more: %v, %v, %v", next, ok, err)
	}
	if err := c.Pin(t.Context(), Memory{}, n, addr("10.42.200.1"), Pin{Node: "b", ContainerID: "c", IfName: "eth0"}); err != nil {
		t.Fatal(err)
	}
	if block, ok, err := c.Guess(t.Context(), Memory{}, n, "b", "b", subnet); ok || err != nil {
		t.Errorf("beside a pin: %v, %v, %v, want none", block, ok, err)
	}
}

// A block in which an address was pinned since it was given up is not written again for a host that does not run, whether the pin is known yet
// or not.
func TestRestoreMemberBesidePins(t *testing.T) {
	for _, known := range []bool{true, false} {
		sim, c := newStore(t)
		n := create(t, c, network("blue", "10.42.0.0/16", 26))
		block := prefix("10.42.1.0/26")
		sim.Put(pinKey("blue", addr("10.42.1.7")), `{"node":"a","containerID":"c","ifName":"eth0"}`)
		if known {
			n = current(t, c).Networks["blue"]
		}
		written, err := c.RestoreMember(t.Context(), n, Lost{Node: "b", VTEP: addr("192.0.2.12"), Blocks: []netip.Prefix{block}})
		if err != nil || len(written) > 0 || len(current(t, c).Networks["blue"].Blocks) > 0 {
			t.Errorf("the pin is known: %v; written %v, %v", known, written, err)
		}
	}
}

// What the store has lost of a host is written again as a whole, and by the host itself when it is alive.
func TestRestoreMember(t *testing.T) {
	sim, c := newStore(t)
	n := create(t, c, network("blue", "10.42.0.0/16", 26))
	block := prefix("10.42.1.0/26")
	restore := func() []string {
		written, err := c.RestoreMember(t.Context(), n, Lost{Node: "b", VTEP: addr("192.0.2.12"), Blocks: []netip.Prefix{block}, Pins: []netip.Addr{addr("10.42.200.1")}})
		if err != nil {
			t.Fatal(err)
		}
		return written
	}
	alive(t, sim, "b")
	if written := restore(); written != nil {
		t.Errorf("%v of a host that is alive", written)
	}
	sim.Delete(heartbeatKey("b"))
	sim.Put(memberKey("blue", "b"), `{"version":1}`) // from before its first container
	for range 2 {                                    // the answer to the first may be lost
		restore()
		if used, err := c.Used(t.Context(), "blue", "b"); !used || err != nil {
			t.Errorf("it counts as without containers: %v", err)
		}
		sim.Delete(memberKey("blue", "b"))
		restore()
		now := current(t, c).Networks["blue"]
		if _, member := now.Members["b"]; !member || now.Blocks[block] != "b" || now.Pins[addr("10.42.200.1")].Node != "b" {
			t.Errorf("members %v, blocks %v, pins %v", now.Members, now.Blocks, now.Pins)
		}
	}
}
