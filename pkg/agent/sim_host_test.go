package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd/etcdsim"
	"github.com/fairway-cni/fairway/pkg/fence"
	"github.com/fairway-cni/fairway/pkg/names"
	"github.com/fairway-cni/fairway/pkg/overlay"
)

// simHost is a host of the simulation: its disk and its kernel outlive the agent.
type simHost struct {
	world   *world
	node    string // to the others
	machine string
	serial  int
	visitor bool // a clone
	boot    int
	vtep    netip.Addr
	mtu     int  // 0: 1500
	without bool // the address is not there
	etcd    *etcdsim.Client

	mu         sync.Mutex
	disk       map[string]snapshot // documents of all hosts
	small      map[string][]byte   // documents of the plugin
	kept       map[string]map[string]keptName
	keeping    int // how often kept was written
	who        identity
	fence      fence.Fence
	offered    map[string]agentapi.Network
	programmed map[string]snapshot
	containers map[string]map[netip.Addr]uint32 // by network; the VNI tells two of a name apart
	called     map[string]names.Record          // what containers are called, by file
	full       bool                             // nothing can be written
	cut        bool                             // off from etcd
	hostname   string                           // that the agent is started with
	former     *formerAgent                     // runs, or ran last, instead of one of this release

	agent *Agent // nil: it does not run
	index *names.Index
	stop  func()
}

func (h *simHost) bootID() string { return fmt.Sprintf("boot%d-%d", h.serial, h.boot) }

func (h *simHost) clock() fence.Now {
	return fence.Now{Time: time.Now(), Boot: h.bootID(), Uptime: time.Since(h.world.start)}
}

// The disk.

func (h *simHost) load() (map[string]snapshot, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.disk), nil
}

var errFull = errors.New("no space left on device")

func (h *simHost) write(s snapshot, offered []netip.Prefix) error {
	text, err := s.forPlugin(offered, "/full", "/confirmed")
	if err != nil {
		return err
	}
	time.Sleep(simDisk) // so that others see what is between a snapshot and its document
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.full {
		return errFull
	}
	h.disk[s.definition.Name], h.small[s.definition.Name] = s, text
	return nil
}

func (h *simHost) flush() error  { return nil }
func (h *simHost) pending() bool { return false }

func (h *simHost) remove(network string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.disk, network)
	delete(h.small, network)
	return nil
}

func (h *simHost) saveNames(network string, all map[string]keptName) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.full {
		return errFull
	}
	h.keeping++
	h.kept[network] = all
	return nil
}

func (h *simHost) loadNames(network string) (map[string]keptName, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.kept[network], nil
}

func (h *simHost) saveIdentity(i identity) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.full {
		return errFull
	}
	h.who = i
	return nil
}

func (h *simHost) saveFence(f fence.Fence) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.full {
		return errFull
	}
	h.fence = f
	return nil
}

func (h *simHost) loadFence() (fence.Fence, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fence == (fence.Fence{}) {
		return h.fence, errors.New("there is none")
	}
	return h.fence, nil
}

// simOffers are the host's conflists.
type simOffers struct{ *simHost }

func (o simOffers) ensure(n agentapi.Network) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.offered[n.Name] = n
	return nil
}

func (o simOffers) remove(name string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.offered, name)
	return nil
}

func (o simOffers) made() (map[string]agentapi.Network, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.offered), nil
}

// simMachine is the host's kernel and host-local.
type simMachine struct{ *simHost }

func (m simMachine) open() (pass, error)                           { return simPass(m), nil }
func (m simMachine) purge(_ context.Context, network string) error { return nil }

func (m simMachine) reserved(network string) ([]netip.Addr, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Keys(m.containers[network]), netip.Addr.Compare), nil
}

func (m simMachine) has(addr netip.Addr) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.vtep == addr && !m.without
}

func (m simMachine) answers(_ context.Context, addr netip.Addr) bool {
	time.Sleep(answerWithin)
	for _, h := range m.world.machines() {
		if (simMachine{h}).has(addr) {
			return true
		}
	}
	return false
}

type simPass struct{ *simHost }

func (p simPass) close()    {}
func (p simPass) remember() {}

func (p simPass) findUnderlay(_ string, _ int, _ netip.Addr) (underlay, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.without {
		return underlay{}, errors.New("link eth0 has no address")
	}
	return underlay{p.vtep, "eth0", cmp.Or(p.mtu, 1500)}, nil
}

// program finds, as the kernel's does, that what it compares and is new is missing.
func (p simPass) program(s snapshot, before *snapshot, partial bool) (drift, err error) {
	if err := s.network().Check(s.hosts); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	name := s.definition.Name
	if err := p.passable(s); err != nil {
		return nil, err
	}
	if before != nil && !p.programmed[name].equal(*before) {
		p.world.t.Errorf("%s: network %s: the kernel has not what the agent takes for it", p.node, name)
	}
	if partial {
		s.hosts = united(s.hosts, p.programmed[name].hosts)
	}
	if before == nil && !p.programmed[name].equal(s) {
		drift = errors.New("something is missing")
	}
	p.programmed[name] = s
	return drift, nil
}

// passable refuses a route by way of an address that is the host's own, as the kernel does: the first of a block is on the host's end of
// each container in it.
func (p simPass) passable(s snapshot) error {
	for _, peer := range s.hosts.Peers[1:] {
		for _, block := range peer.Blocks {
			for addr, vni := range p.containers[s.definition.Name] {
				if block.Contains(addr) && vni == s.definition.VNI {
					return fmt.Errorf("route %s via %s: invalid argument", block, block.Addr())
				}
			}
		}
	}
	return nil
}

// united are hosts with what there was before beside.
func united(hosts, before overlay.Hosts) overlay.Hosts {
	hosts.Peers, hosts.Pins = slices.Clone(hosts.Peers), slices.Clone(hosts.Pins)
	for _, was := range before.Peers {
		i := slices.IndexFunc(hosts.Peers, func(p overlay.Peer) bool { return p.VTEP == was.VTEP })
		if i < 0 {
			hosts.Peers = append(hosts.Peers, was)
			continue
		}
		for _, block := range was.Blocks {
			if !slices.Contains(hosts.Peers[i].Blocks, block) {
				hosts.Peers[i].Blocks = append(slices.Clone(hosts.Peers[i].Blocks), block)
			}
		}
	}
	for _, pin := range before.Pins {
		if !slices.ContainsFunc(hosts.Pins, func(p overlay.Pin) bool { return p.Address == pin.Address }) {
			hosts.Pins = append(hosts.Pins, pin)
		}
	}
	return hosts
}

func (p simPass) fits(snapshot) error { return nil }

func (h *simHost) takeAway(s snapshot) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	name := s.definition.Name
	if len(h.containers[name]) > 0 {
		return false, nil
	}
	delete(h.programmed, name)
	return true, nil
}

// simPass.remove hides the disk's.
func (p simPass) remove(s snapshot) (bool, error) { return p.takeAway(s) }

// up starts the agent.
func (h *simHost) up() {
	if h.agent != nil || h.former.runs() {
		return
	}
	if h.former != nil {
		h.former.up()
		return
	}
	c := Defaults()
	c.Node, c.Endpoints, c.ReclaimAfter, c.AliveTTL, c.LeaveAfter, c.Audit = h.hostname, []string{"http://192.0.2.254"}, simHold, simTTL, simLeave, time.Hour
	h.index = names.NewIndex()
	for file, r := range h.called {
		h.index.Set(file, r)
	}
	read := make(chan struct{})
	close(read)
	c.Names, c.NamesRead = h.index, read
	owns := false
	for _, snap := range h.disk {
		owns = owns || snap.member()
	}
	who, copied := h.who.recognise(c, h.machine, owns)
	if copied != nil {
		clear(h.disk)
		clear(h.small)
		clear(h.kept)
		h.fence = fence.Fence{}
	}
	h.who, h.node = who, who.Node
	a, err := newAgent(c, parts{
		bootID: h.bootID(), clock: h.clock, who: h.who, store: h.etcd, machine: simMachine{h}, files: h, offers: simOffers{h},
		link:  func(ctx context.Context, report func(bool)) { report(true); <-ctx.Done() },
		leave: func(netip.Addr) {},
	})
	if err != nil {
		h.world.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	a.count()
	if err := a.openFence(); err != nil && !errors.Is(err, errFull) {
		h.world.t.Fatal(err)
	}
	l := a.newLocal()
	l.cache.mark(&l.cache.local)
	l.reconcile(ctx)
	for _, task := range a.tasks(l) {
		tasks.Go(func() { _ = task(ctx) })
	}
	h.agent = a
	h.stop = func() {
		cancel()
		tasks.Wait()
		h.agent = nil
	}
}

// fileOf is the record of a container, which is called by its address.
func fileOf(network string, addr netip.Addr) string { return network + "-" + addr.String() + ".json" }

// call leaves a record, under a name that no container has had.
func (h *simHost) call(network string, addr netip.Addr) {
	h.world.born++
	id := fmt.Sprintf("container%012d", h.world.born)
	r := names.Record{
		Version: names.Version, Owner: names.Owner{Network: network, ContainerID: id, IfName: "eth0"},
		Names: []string{fmt.Sprint("c", h.world.born)}, Aliases: []string{"all"}, Addresses: []netip.Addr{addr},
		Netns: names.Netns{Path: "/proc/1/ns/net", Dev: 4, Inode: uint64(h.world.born)},
	}
	h.called[fileOf(network, addr)] = r
	if h.agent != nil {
		h.index.Set(fileOf(network, addr), r)
	}
}

// setAddress takes the address on the underlay away, or brings it back.
func (h *simHost) setAddress(there bool) {
	h.mu.Lock()
	h.without = !there
	h.mu.Unlock()
	if h.agent != nil {
		h.agent.wake.set()
	}
}

func (h *simHost) setCut(is bool) {
	h.cut = is
	h.etcd.Cut(is)
}

// down kills the agent: what it would say at its end is not heard.
func (h *simHost) down() {
	if h.agent == nil && !h.former.runs() {
		return
	}
	h.etcd.Cut(true)
	if h.agent != nil {
		h.stop()
	} else {
		h.former.down()
	}
	h.etcd.Cut(h.cut)
}

// knows says whether this host can tell the store that another, or itself, has a block.
func (h *simHost) knows(network string, block netip.Prefix, of *simHost) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	hosts := h.programmed[network].hosts
	return h.agent != nil && !h.cut && (slices.ContainsFunc(hosts.Peers, func(p overlay.Peer) bool {
		return (p.VTEP == hosts.Self) == (h == of) && slices.Contains(p.Blocks, block)
	}) ||
		slices.ContainsFunc(hosts.Pins, func(p overlay.Pin) bool { return block.Contains(p.Address) }))
}

// add does what the plugin does for a container, and says whether it got an address.
func (h *simHost) add(network string) (netip.Addr, bool) {
	for try := range 2 {
		if addr, ok := h.reserve(network); ok {
			h.call(network, addr)
			if h.agent != nil {
				h.agent.count(network)
			}
			return addr, true
		}
		if h.agent == nil || try > 0 {
			break
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if err := h.agent.enter(ctx, network); err == nil && !h.mayTake(network) {
			h.world.t.Errorf("%s: a member of %s by the agent's answer, and the plugin's document offers no block", h.node, network)
		}
		cancel()
	}
	return netip.Addr{}, false
}

// mayTake says whether the plugin's document offers a block.
func (h *simHost) mayTake(network string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	d, err := overlay.Decode(h.small[network])
	if err != nil {
		return false
	}
	own, err := d.Own(nil)
	return err == nil && slices.ContainsFunc(own.Blocks, func(b netip.Prefix) bool { return !slices.Contains(d.Withheld, b) })
}

func (h *simHost) reserve(network string) (netip.Addr, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	text, ok := h.small[network]
	if !ok || h.former == nil && h.fence.Check(h.clock()) != nil {
		return netip.Addr{}, false
	}
	d, err := overlay.Decode(text)
	if err != nil {
		h.world.t.Errorf("%s: the plugin cannot read its document: %v\n%s", h.node, err, text)
		return netip.Addr{}, false
	}
	own, err := d.Own(nil)
	if err != nil {
		return netip.Addr{}, false
	}
	for _, block := range own.Blocks {
		if slices.Contains(d.Withheld, block) {
			continue
		}
		for addr := block.Addr().Next(); block.Contains(addr); addr = addr.Next() {
			if h.take(network, addr, d.Network.VNI) {
				return addr, true
			}
		}
	}
	return netip.Addr{}, false
}

// take is what host-local does.
func (h *simHost) take(network string, addr netip.Addr, vni uint32) bool {
	if h.containers[network] == nil {
		h.containers[network] = make(map[netip.Addr]uint32)
	}
	if _, is := h.containers[network][addr]; is {
		return false
	}
	h.containers[network][addr] = vni
	return true
}

// pin does what the plugin does for a container that asks for an address.
func (h *simHost) pin(network string, addr netip.Addr) bool {
	if h.agent == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, "/", strings.NewReader(`{"containerID":"c","ifName":"eth0"}`))
	if err != nil {
		h.world.t.Fatal(err)
	}
	r.SetPathValue("name", network)
	r.SetPathValue("address", addr.String())
	if _, err := h.agent.putPin(r); err != nil {
		return false
	}
	if !h.reservePinned(network, addr) {
		return false
	}
	h.agent.count(network)
	return true
}

func (h *simHost) reservePinned(network string, addr netip.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	d, err := overlay.Decode(h.small[network])
	if err != nil || h.fence.Check(h.clock()) != nil {
		return false
	}
	own, err := d.Own(nil)
	if err != nil {
		return false
	}
	mine := slices.Contains(d.Pins, overlay.Pin{Address: addr, VTEP: d.Self}) ||
		slices.ContainsFunc(own.Blocks, func(b netip.Prefix) bool { return b.Contains(addr) && !slices.Contains(d.Withheld, b) })
	return mine && h.take(network, addr, d.Network.VNI)
}

// del removes a container.
func (h *simHost) del(network string, addr netip.Addr) {
	h.mu.Lock()
	delete(h.containers[network], addr)
	h.mu.Unlock()
	delete(h.called, fileOf(network, addr))
	if h.agent != nil {
		h.index.Delete(fileOf(network, addr))
		h.agent.count(network)
	}
}

// reboot takes away the containers and the kernel's state.
func (h *simHost) reboot() {
	h.down()
	h.mu.Lock()
	h.boot++
	clear(h.containers)
	clear(h.called)
	clear(h.programmed)
	h.mu.Unlock()
	h.up()
}
