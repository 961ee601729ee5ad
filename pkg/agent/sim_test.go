package agent

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd/etcdsim"
	"github.com/fairway-cni/fairway/pkg/fence"
	"github.com/fairway-cni/fairway/pkg/names"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/registry"
)

var (
	simFor  = flag.Duration("sim", 10*time.Second, "how long random schedules are tried")
	simFrom = flag.Uint64("sim.from", 1, "the first schedule")
	simSeed = flag.Uint64("sim.seed", 0, "the one schedule to try")
	simLog  = flag.Bool("sim.log", false, "log what the agents do")
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

type simPass struct{ *simHost }

func (p simPass) close() {}

func (p simPass) findUnderlay(_ string, _ int, _ netip.Addr) (underlay, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.without {
		return underlay{}, errors.New("link eth0 has no address")
	}
	return underlay{p.vtep, "eth0", cmp.Or(p.mtu, 1500)}, nil
}

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
	p.programmed[name] = s
	return nil, nil
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

// knows says whether this host can tell the store who has a block.
func (h *simHost) knows(network string, block netip.Prefix) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	hosts := h.programmed[network].hosts
	return h.agent != nil && !h.cut && (slices.ContainsFunc(hosts.Peers, func(p overlay.Peer) bool { return slices.Contains(p.Blocks, block) }) ||
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
	if _, used := h.world.etcd.Keys("/fairway/v1/net/" + network + "/used/")["/fairway/v1/net/"+network+"/used/"+h.node]; !used {
		h.world.unseen[fmt.Sprint(network, addr)] = true
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

const (
	simHold  = 20 * time.Minute
	simTTL   = time.Minute
	simLeave = 5 * time.Minute
	simDisk  = 100 * time.Millisecond
)

// world is a simulation.
type world struct {
	t      *testing.T
	random *rand.Rand
	start  time.Time
	etcd   *etcdsim.Sim
	hosts  []*simHost
	backup *etcdsim.Backup
	steps  []string
	// networks are those that were made and not deleted since all was well.
	networks map[string]bool
	// mixed has agents of the former release, and nothing happens that they cannot stand. In going back, the store mostly is restored, and
	// hosts are away for so long that others have their blocks.
	mixed, goingBack bool
	// routed is which containers reach which.
	routed map[[2]string]bool
	// moved is when a host's address changed last.
	moved map[string]time.Time
	// forgotten are blocks that the store has lost while nobody who runs knew of them, by key.
	forgotten map[string]bool
	// unseen are containers that came while nobody could tell the store of the first one on its network, by network and address.
	unseen map[string]bool
	// born is how many containers there were.
	born int
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, random: rand.New(rand.NewPCG(seed, 99)), start: time.Now(), etcd: etcdsim.New(), networks: make(map[string]bool),
		routed: make(map[[2]string]bool), moved: make(map[string]time.Time), forgotten: make(map[string]bool),
		unseen: make(map[string]bool),
	}
	for i := range 4 {
		w.hosts = append(w.hosts, w.newHost(fmt.Sprint("host", i), i, seed*100+uint64(i)))
	}
	return w
}

func (w *world) newHost(node string, i int, seed uint64) *simHost {
	return &simHost{
		world: w, node: node, hostname: node, machine: fmt.Sprint("machine", i), serial: i, vtep: netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)}), etcd: w.etcd.Client(seed),
		disk: make(map[string]snapshot), small: make(map[string][]byte), kept: make(map[string]map[string]keptName), offered: make(map[string]agentapi.Network),
		programmed: make(map[string]snapshot), containers: make(map[string]map[netip.Addr]uint32), called: make(map[string]names.Record),
	}
}

func (w *world) say(format string, args ...any) {
	w.steps = append(w.steps, fmt.Sprintf("%8v ", time.Since(w.start).Round(time.Second))+fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(w.steps, "\n"))
}

func (w *world) host() *simHost { return w.hosts[w.random.IntN(len(w.hosts))] }

var simNetworks = []string{"blue", "red"}

func simNetwork(name string) agentapi.Network {
	subnet := map[string]string{"blue": "10.42.0.0/24", "red": "10.43.0.0/24"}[name]
	return agentapi.Network{Name: name, Subnets: []agentapi.Subnet{{Prefix: netip.MustParsePrefix(subnet), BlockLength: 29}}}
}

// step does one thing at random.
func (w *world) step() {
	h, network := w.host(), simNetworks[w.random.IntN(len(simNetworks))]
	n := w.random.IntN(120)
	switch {
	case w.mixed:
		n = mixedSteps[w.random.IntN(len(mixedSteps))]
	case w.goingBack:
		n = backSteps[w.random.IntN(len(backSteps))]
	}
	switch {
	case n < 30:
		addr, ok := h.add(network)
		w.say("%s: add to %s: %v %v", h.node, network, addr, ok)
	case n < 42:
		for addr := range h.containers[network] {
			w.say("%s: delete %s of %s", h.node, addr, network)
			h.del(network, addr)
			break
		}
	case n < 48:
		w.say("%s: agent killed", h.node)
		h.down()
	case n < 56:
		w.say("%s: agent started", h.node)
		h.up()
	case n < 58:
		w.say("%s: rebooted", h.node)
		h.reboot()
	case n < 63:
		w.say("%s: cut off from etcd", h.node)
		h.setCut(true)
	case n < 70:
		w.say("all cuts mended")
		for _, h := range w.hosts {
			h.setCut(false)
		}
	case n < 72:
		w.say("etcd down")
		w.etcd.SetDown(true)
	case n < 77:
		w.say("etcd up")
		w.etcd.SetDown(false)
	case n < 80:
		w.say("backup")
		b := w.etcd.Backup()
		w.backup = &b
	case n < 82:
		if w.backup != nil {
			w.say("restored from the backup")
			w.etcd.Restore(*w.backup)
		}
	case n < 83:
		w.say("etcd emptied")
		w.etcd.Wipe()
		w.backup = nil
	case n < 85:
		w.say("no space")
		w.etcd.SetNoSpace(true)
	case n < 88:
		w.say("space")
		w.etcd.SetNoSpace(false)
	case n < 90:
		w.say("compacted")
		w.etcd.Compact()
	case n < 92:
		w.say("%s: answers are lost", h.node)
		h.etcd.SetLossy(true)
	case n < 94:
		w.say("%s: answers are not lost", h.node)
		h.etcd.SetLossy(false)
	case n < 96:
		w.badRecord()
	case n < 97:
		h.setAddress(h.without)
		w.say("%s: without its address %v", h.node, h.without)
	case n < 98:
		h.mu.Lock()
		h.full = !h.full
		w.say("%s: disk full %v", h.node, h.full)
		h.mu.Unlock()
	case n < 102:
		w.unmake(network)
	case n < 105:
		w.makeAgain(network)
	case n < 112:
		addr := subnets(network)[0].Addr().As4()
		addr[3] = byte(w.random.IntN(256))
		w.say("%s: pin %s of %s: %v", h.node, netip.AddrFrom4(addr), network, h.pin(network, netip.AddrFrom4(addr)))
	case n < 114:
		w.visitOfClone(h)
	case n < 116:
		h.hostname = strings.TrimSuffix(h.hostname, "b") + map[bool]string{true: "", false: "b"}[strings.HasSuffix(h.hostname, "b")]
		w.say("%s: renamed to %s", h.node, h.hostname)
	case n < 118:
		h.upgrade()
	case n == away:
		w.say("%s is away for long", h.node)
		h.setCut(true)
		time.Sleep(simHold + 5*time.Minute)
	default:
		h.mu.Lock()
		addr := h.vtep.As4()
		addr[3] ^= 0x80
		h.vtep = netip.AddrFrom4(addr)
		w.moved[h.node] = time.Now()
		h.mu.Unlock()
		w.say("%s: moved to %s", h.node, h.vtep)
		if h.agent != nil {
			h.agent.wake.set()
		}
	}
}

var badRecords = [][2]string{
	{"net/blue/blocks/10.42.0.0/24", "host1"}, {"net/blue/blocks/10.99.0.0/29", "host1"}, {"net/blue/blocks/10.42.0.3/29", "x"}, {"net/red/nodes/x", "{"},
	{"net/red/nodes/x", `{"vtep": "127.0.0.1"}`}, {"net/blue/pins/1.2.3.4", "{}"}, {"nodes/x", "{"}, {"nodes/y", `{"version":1,"vtep":"192.0.2.10"}`},
	{"networks/green", "{"}, {"networks/green", `{"name":"green","vni":9,"requires":["encryption"],"subnets":[{"prefix":"10.50.0.0/16","blockLength":26}]}`},
	{"later/key", "x"}, {"net/blue/later/x", "1"},
	{"net/blue/names/host1/x", "{"}, {"net/blue/names/host1", "{}"},
	{"net/blue/names/x/1", `{"version":1,"owner":{"network":"blue","containerID":"x","ifname":"eth0"},"names":["c1"],"addresses":["10.42.0.9"]}`},
	{"net/red/names/host2/1", `{"version":1,"owner":{"network":"red","containerID":"x","ifname":"eth0"},"names":["c1"],"addresses":["10.42.0.9","10.99.0.1"]}`},
}

func (w *world) badRecord() {
	r := badRecords[w.random.IntN(len(badRecords))]
	w.say("bad record %s = %s", r[0], r[1])
	w.etcd.Put("/fairway/v1/"+r[0], r[1])
}

// heal ends all that is wrong, and waits until hosts have had the time to settle.
func (w *world) heal() {
	w.say("all is well again")
	w.etcd.SetDown(false)
	w.etcd.SetNoSpace(false)
	for _, r := range badRecords {
		w.etcd.Delete("/fairway/v1/" + r[0])
	}
	for _, h := range w.hosts {
		h.setCut(false)
		h.etcd.SetLossy(false)
		h.mu.Lock()
		h.full = false
		h.mu.Unlock()
		h.setAddress(true)
		h.up()
	}
	time.Sleep(10 * time.Minute)
	w.removeLeftOver()
}

// check holds the invariants that hold at any moment.
func (w *world) check() {
	w.t.Helper()
	w.attachAnew(false)
	holders := make(map[string]string)
	for _, h := range w.hosts {
		for network, addrs := range h.containers {
			for addr, vni := range addrs {
				key := fmt.Sprint(network, " ", vni, " ", addr)
				if other, twice := holders[key]; twice {
					w.fail("%s: containers on %s and %s", key, other, h.node)
				}
				holders[key] = h.node
			}
		}
	}
	w.checkBlocks()
	w.checkTraffic()
	w.checkNames()
	for network := range w.networks {
		for _, h := range w.hosts {
			if _, ok := h.offered[network]; !ok && !h.visitor {
				w.fail("%s: network %s is not offered any more", h.node, network)
			}
		}
	}
}

// attachAnew removes containers of blocks that were given to others because nobody could know of them. Only members know who has which
// block of a network (docs/design.md, Membership): when no agent that knows runs after the store has lost a block, it is free when the
// store has settled, and health of the host that had it asks for its containers to be attached anew.
func (w *world) attachAnew(settled bool) (some bool) {
	blocks, vnis := w.etcd.Keys("/fairway/v1/net/"), w.vnis()
	for _, h := range w.hosts {
		for network, addrs := range h.containers {
			for addr, vni := range addrs {
				if vni != vnis[network] {
					continue
				}
				block, _ := addr.Prefix(29)
				key := "/fairway/v1/net/" + network + "/blocks/" + block.String()
				owner := blocks[key]
				seen := h.agent != nil && !h.cut && h.agent.cache.connected()
				switch {
				case owner == h.node:
					delete(w.forgotten, key)
					if seen {
						delete(w.unseen, fmt.Sprint(network, addr))
					}
				case w.unseen[fmt.Sprint(network, addr)]:
					w.forgotten[key] = true
				case !slices.ContainsFunc(w.hosts, func(h *simHost) bool { return h.knows(network, block) }):
					w.forgotten[key] = true
				}
				_, pinned := blocks["/fairway/v1/net/"+network+"/pins/"+addr.String()]
				gone := settled || w.unseen[fmt.Sprint(network, addr)]
				if (owner != "" || gone && !pinned) && owner != h.node && w.forgotten[key] {
					w.say("%s: %s of %s was forgotten by all", h.node, addr, network)
					h.del(network, addr)
					some = true
				}
			}
		}
	}
	return some
}

// checkBlocks: no block with a living container is another's. What a backup says of owners is not believed before they say so again.
func (w *world) checkBlocks() {
	w.t.Helper()
	blocks, vnis := w.etcd.Keys("/fairway/v1/net/"), w.vnis()
	for _, h := range w.hosts {
		for network, addrs := range h.containers {
			for addr, vni := range addrs {
				block, _ := addr.Prefix(29)
				if now := vnis[network]; now != 0 && vni != now {
					continue // a former network of the name
				}
				key := "/fairway/v1/net/" + network + "/blocks/" + block.String()
				if owner, ok := blocks[key]; ok && owner != h.node && !w.etcd.Restored(key) {
					w.fail("%s: container %s of %s lies in %s, which is %s's", h.node, addr, network, block, owner)
				}
			}
		}
	}
}

// checkTraffic: who once reached a container reaches it, whatever happens to etcd.
func (w *world) checkTraffic() {
	w.t.Helper()
	seen := make(map[[2]string]bool)
	for _, from := range w.hosts {
		for _, to := range w.hosts {
			if from == to || time.Since(w.moved[to.node]) < time.Hour || time.Since(w.moved[from.node]) < time.Hour {
				continue
			}
			for network, addrs := range to.containers {
				for addr, vni := range addrs {
					if !slices.Contains(slices.Collect(maps.Values(from.containers[network])), vni) {
						continue
					}
					pair := [2]string{fmt.Sprint(from.serial, "#", from.boot), fmt.Sprint(to.serial, " ", network, " ", vni, " ", addr)}
					seen[pair] = true
					routes := slices.Contains(from.programmed[network].hosts.Pins, overlay.Pin{Address: addr, VTEP: to.vtep}) || slices.ContainsFunc(from.programmed[network].hosts.Peers, func(p overlay.Peer) bool {
						return p.VTEP == to.vtep && slices.ContainsFunc(p.Blocks, func(b netip.Prefix) bool { return b.Contains(addr) })
					})
					if w.routed[pair] && !routes {
						w.fail("%s reached container %s of %s on %s, and does not any more: %+v", from.node, addr, network, to.node, from.programmed[network].hosts)
					}
					w.routed[pair] = routes
				}
			}
		}
	}
	maps.DeleteFunc(w.routed, func(pair [2]string, _ bool) bool { return !seen[pair] })
}

// checkSettled holds what is true when nothing has been wrong for a while.
func (w *world) checkSettled() {
	w.t.Helper()
	keys := w.etcd.Keys("/fairway/v1/")
	w.checkOffers(keys)
	for _, h := range w.hosts {
		if h.former != nil {
			continue
		}
		health := h.agent.health("")
		if !health.Healthy {
			s, ok := h.agent.cache.state()
			w.fail("%s is not healthy: %q\nstate %v of %v, joined %v, lost %v, unsettled %v, had %v, %+v", h.node, health.Problems, ok, s.Cluster.Epoch,
				h.agent.cache.joined, h.agent.cache.lost, h.agent.cache.unsettled, h.agent.cache.blocks, describeNetworks(s))
		}
		for network, addrs := range h.containers {
			for addr := range addrs {
				block, _ := addr.Prefix(29)
				pin := keys["/fairway/v1/net/"+network+"/pins/"+addr.String()]
				if owner := keys["/fairway/v1/net/"+network+"/blocks/"+block.String()]; owner != h.node && !strings.Contains(pin, `"`+h.node+`"`) {
					w.fail("%s is healthy, and block %s of its container in %s is owned by %q", h.node, block, network, owner)
				}
			}
			if len(addrs) > 0 {
				w.checkPeers(h, network, keys)
				w.checkNamesSettled(h, network)
			}
		}
	}
}

// checkNames: a name is answered with its container's address or not at all, whatever else is published.
func (w *world) checkNames() {
	w.t.Helper()
	for _, of := range w.hosts {
		for _, r := range of.called {
			for _, h := range w.hosts {
				if h.agent == nil {
					continue
				}
				if got, _ := h.index.LookupIn(r.Owner.Network, r.Names[0]); len(got) > 0 && !slices.Equal(got, r.Addresses) {
					w.fail("%s: %s of %s is at %v, not %v", h.node, r.Names[0], r.Owner.Network, got, r.Addresses)
				}
			}
		}
	}
}

// checkNamesSettled: a member knows all containers of all hosts, and none that has gone.
func (w *world) checkNamesSettled(h *simHost, network string) {
	w.t.Helper()
	var want []netip.Addr
	for _, other := range w.hosts {
		for _, r := range other.called {
			if r.Owner.Network != network || other.former != nil { // which publishes none
				continue
			}
			want = append(want, r.Addresses...)
			if got, _ := h.index.LookupIn(network, r.Names[0]); !slices.Equal(got, r.Addresses) {
				w.fail("%s: %s of %s on %s is at %v, want %v", h.node, r.Names[0], network, other.node, got, r.Addresses)
			}
		}
	}
	got, _ := h.index.LookupIn(network, "all")
	slices.SortFunc(got, netip.Addr.Compare)
	slices.SortFunc(want, netip.Addr.Compare)
	if !slices.Equal(got, want) {
		w.fail("%s: containers of %s are at %v, want %v", h.node, network, got, want)
	}
}

func describeNetworks(s registry.State) (text string) {
	for name, n := range s.Networks {
		text += fmt.Sprintf("%s: %+v\n", name, *n)
	}
	return text
}

// checkPeers: a member has the way to all others.
func (w *world) checkPeers(h *simHost, network string, keys map[string]string) {
	w.t.Helper()
	want := make(map[netip.Prefix]netip.Addr)
	for _, other := range w.hosts {
		for key, owner := range keys {
			if text, ok := strings.CutPrefix(key, "/fairway/v1/net/"+network+"/blocks/"); ok && owner == other.node && other != h {
				want[netip.MustParsePrefix(text)] = other.vtep
			}
		}
	}
	got := make(map[netip.Prefix]netip.Addr)
	for _, p := range h.programmed[network].hosts.Peers {
		if p.Node != h.node {
			for _, b := range p.Blocks {
				owner := keys["/fairway/v1/net/"+network+"/blocks/"+b.String()]
				if slices.ContainsFunc(w.hosts, func(h *simHost) bool { return h.node == owner }) { // another name stays until it is reclaimed
					got[b] = p.VTEP
				}
			}
		}
	}
	if !maps.Equal(want, got) {
		w.fail("%s: network %s leads to %v, want %v", h.node, network, got, want)
	}
}

// run is one schedule.
func (w *world) run() {
	defer func() {
		for _, h := range w.hosts {
			h.down()
		}
	}()
	if w.mixed = w.random.IntN(5) == 0; w.mixed {
		for _, h := range w.hosts {
			h.former = &formerAgent{host: h}
		}
	}
	w.goingBack = !w.mixed && w.random.IntN(3) == 0
	for _, h := range w.hosts {
		h.up()
	}
	time.Sleep(time.Second)
	client := registry.New(w.etcd.Client(77))
	for _, name := range simNetworks {
		if _, err := client.Create(context.Background(), simNetwork(name)); err != nil {
			w.t.Fatal(err)
		}
		w.networks[name] = true
	}
	time.Sleep(20 * time.Second)
	for half := range 2 {
		for range 20 {
			w.step()
			time.Sleep(time.Duration(w.random.Int64N(int64([]time.Duration{time.Second, 20 * time.Second, 3 * time.Minute}[w.random.IntN(3)]))))
			synctest.Wait()
			w.check()
		}
		if half == 1 {
			for _, h := range w.hosts {
				h.upgrade()
			}
		}
		w.heal()
		synctest.Wait()
		w.check()
		w.checkSettled()
	}
	if text := w.etcd.Keys("/fairway/v1/cluster")["/fairway/v1/cluster"]; w.mixed && strings.Contains(text, "mixed") {
		w.fail("no agent of the former release runs any more, and the cluster is still %s", text)
	}
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

// Random schedules of what happens to hosts, agents and etcd, on a clock and a store that are simulated. After each step, no address
// is on two hosts, no block of a living container is another's, who reached whom still does, and no network is gone; when all
// is well again, health says so, and everybody has the way to everybody.
func TestSimulation(t *testing.T) {
	if !*simLog {
		before := slog.Default()
		slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
		defer slog.SetDefault(before)
	}
	if *simSeed != 0 {
		synctest.Test(t, func(t *testing.T) { newWorld(t, *simSeed).run() })
		return
	}
	ends, count := time.Now().Add(*simFor), 0
	for seed := *simFrom; time.Now().Before(ends); seed++ {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { newWorld(t, seed).run() }) })
		if count++; !ok {
			t.Fatalf("again by -run TestSimulation -sim.seed=%d -sim.log", seed)
		}
	}
	t.Logf("%d schedules", count)
}
