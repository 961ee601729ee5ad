// Package agent is the node agent of overlay networks: it follows the registry, keeps this host's part of each network as
// it has to be, and serves an API on a unix socket.
//
// What is known is kept apart from what is done about it. Sources only report: etcd, the heartbeat, the kernel's events,
// host-local's directory and the clock. One loop then brings files and kernel in line (local.go), and another writes to etcd
// what it does not have of this host yet (publish.go). Both start from the whole and do what differs, so that it does not matter
// which report was missed. The local loop never waits for etcd.
//
// A host is a member of a network from its first container, or from when it is asked for, until some time after the last; only
// members hold blocks, hear of each other, and program the way to each other.
//
// The agent runs in the host's network namespace and needs CAP_NET_ADMIN.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd"
	"github.com/fairway-cni/fairway/pkg/fence"
	"github.com/fairway-cni/fairway/pkg/registry"
)

// Agent is the agent of one host.
type Agent struct {
	config    Config
	bootID    string
	clock     func() fence.Now
	identity  identity
	registry  *registry.Client
	following *registry.Following
	machine   machine
	files     files
	offers    offers
	cache     *cache
	problems  *problems
	metrics   *metrics
	watched   watched
	keys      *keyring
	devices   *devices
	rotation  rotation
	contacts  contacts
	others    others // names of other hosts
	// link reports whether etcd is connected, and leave closes the connections that begin at an address.
	link     func(ctx context.Context, report func(connected bool))
	leave    func(netip.Addr)
	wake     trigger     // the local loop
	usage    trigger     // look at what containers have
	remote   trigger     // the publisher
	naming   trigger     // the publisher of names
	claimed  atomic.Bool // since the memory of the store was written
	counting sync.Mutex
	fencing  sync.Mutex      // of what follows
	fenced   fence.Fence     // as written
	saved    time.Time       // identity
	kept     registry.Memory // that is written instead of the present one; the zero value: none
}

// offers are networks as the runtimes find them.
type offers interface {
	// ensure offers a network, and remove stops to.
	ensure(n agentapi.Network) error
	remove(name string) error
	// made are the networks that this agent offers.
	made() (map[string]agentapi.Network, error)
}

// parts are what an agent works on.
type parts struct {
	bootID  string
	clock   func() fence.Now
	who     identity
	store   etcd.Store
	machine machine
	files   files
	offers  offers
	link    func(ctx context.Context, report func(connected bool))
	leave   func(netip.Addr)
	// keys and devices are nil unless the machine has them, too.
	keys    *keyring
	devices *devices
}

// newAgent makes an agent of its parts, with what the files remember.
func newAgent(c Config, p parts) (*Agent, error) {
	snapshots, err := p.files.load()
	if err != nil {
		return nil, err
	}
	if p.keys == nil {
		p.keys, p.devices = newKeyring(c.StateDir), newDevices()
	}
	a := &Agent{
		config: c, bootID: p.bootID, clock: p.clock, identity: p.who, registry: registry.New(p.store), machine: p.machine, files: p.files, offers: p.offers,
		keys: p.keys, devices: p.devices, rotation: newRotation(), contacts: newContacts(), link: p.link, leave: p.leave, cache: newCache(), problems: newProblems(),
		wake: newTrigger(), usage: newTrigger(), remote: newTrigger(), naming: newTrigger(), others: newOthers(),
	}
	a.watched.wanted, a.watched.devices, a.watched.hurt = make(map[string]snapshot), make(map[string]string), make(map[string]bool)
	a.cache.remember(snapshots)
	a.cache.with(func() { a.cache.hold = p.who.Hold })
	a.following = a.registry.NewFollowing(follower{a}, p.who.Memory, a.defaults)
	a.following.Join(a.cache.joinedNetworks())
	a.recallNames()
	a.metrics = newMetrics(a)
	return a, nil
}

// node is this host's name.
func (a *Agent) node() string { return a.identity.Node }

// tasks are what an agent does at the same time, but for its API.
func (a *Agent) tasks(l *local) []func(context.Context) error {
	return []func(context.Context) error{a.follow, a.beat, a.connections, l.work, a.publish, a.publishNames, a.keepNames, a.keep, a.rotate, a.watchTunnels}
}

func (a *Agent) newLocal() *local {
	return &local{Agent: a, programmed: make(map[string]snapshot), made: make(map[string]snapshot), repairs: make(map[string]*repairs), failed: make(map[string]bool)}
}

// Run runs the agent until the context ends, and calls ready when the socket is there and all that the snapshots tell is
// in place. Traffic does not need the agent: nothing is taken away at the end.
func Run(ctx context.Context, c Config, ready func()) error {
	lock, err := lockHost()
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // nothing is sent through it
	client, err := etcd.Open(etcd.Config{Endpoints: c.Endpoints, TLS: c.TLS})
	if err != nil {
		return err
	}
	defer client.Close()
	a, err := prepare(c, client)
	if err != nil {
		return err
	}
	server, err := a.listen()
	if err != nil {
		return err
	}
	a.purge(ctx)
	a.count()
	if err := a.openFence(); err != nil {
		a.problems.note(aboutFiles, err)
	}
	l := a.newLocal()
	l.cache.mark(&l.cache.local)
	l.reconcile(ctx)
	tasks, ctx := errgroup.WithContext(ctx)
	for _, task := range append(a.tasks(l), server.serve, a.events, a.rules, a.watchReservations) {
		tasks.Go(func() error { return task(ctx) })
	}
	slog.Info("running", "node", a.node(), "underlay", a.cache.place().address, "socket", server.socket, "networks", len(a.cache.networks()))
	ready()
	err = tasks.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	a.saveMemory()
	return err
}

// prepare reads what is on disk.
func prepare(c Config, client *etcd.Client) (*Agent, error) {
	boot, err := fence.BootID()
	if err != nil {
		return nil, err
	}
	files, err := newStore(c.StateDir)
	if err != nil {
		return nil, err
	}
	who, copied, err := whoAmI(c, files)
	if err != nil {
		return nil, err
	}
	keys, devices := newKeyring(c.StateDir), newDevices()
	a, err := newAgent(c, parts{
		keys: keys, devices: devices, bootID: boot, clock: func() fence.Now { return fence.Clock(boot) }, who: who, store: client, machine: realMachine{c.DataDir, keys, devices}, files: files,
		offers: newConflists(c, files), link: client.AwaitConnection, leave: client.Leave,
	})
	if err != nil {
		return nil, err
	}
	if copied != nil {
		a.problems.happened("%v", copied)
	}
	if who.Node != c.Node {
		a.problems.note(aboutName, fmt.Errorf("this host is %s to the others and owns parts of their networks by that name, so that it is not %s: "+
			"to rename it, remove its containers, wait until it has left all networks, and restart fairwayd", who.Node, c.Node))
	}
	return a, nil
}

// whoAmI says who this host is. What a directory says that was copied from another machine is put aside.
func whoAmI(c Config, files store) (who identity, copied, err error) {
	before, err := readIdentity(files.identityPath())
	if err != nil {
		slog.Warn("the state of the store is not remembered", "error", err)
	}
	snapshots, err := files.load()
	if err != nil {
		return identity{}, nil, err
	}
	owns := false
	for _, snap := range snapshots {
		owns = owns || snap.member()
	}
	who, copied = before.recognise(c, machineHash("/etc/machine-id"), owns)
	if copied != nil {
		if err := files.setAside(); err != nil {
			return identity{}, nil, err
		}
	}
	return who, copied, files.saveIdentity(who)
}

// openFence lets a host give out addresses that has been given no time to stop yet, as after an upgrade. One that may be a copy may not.
func (a *Agent) openFence() error {
	f, err := a.files.loadFence()
	if err == nil {
		a.fenced = f
	}
	if closed, failed := a.closeFence(); closed || err == nil {
		return failed
	}
	f = a.clock().After(a.untilFence())
	return a.files.saveFence(f)
}

// endpoints are the addresses of etcd's members, as far as they are given as such.
func (a *Agent) endpoints() map[netip.Addr]string {
	all := make(map[netip.Addr]string)
	for _, endpoint := range a.config.Endpoints {
		u, err := url.Parse(endpoint)
		if err != nil {
			continue
		}
		if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
			all[addr.Unmap()] = "a member of etcd"
		}
	}
	if s, ok := a.cache.state(); ok {
		for node, h := range s.Hosts {
			all[h.VTEP] = "the address of host " + node
		}
	}
	return all
}

// trigger asks for something to be done once, however often it is set meanwhile.
type trigger chan struct{}

func newTrigger() trigger { return make(trigger, 1) }

func (t trigger) set() {
	select {
	case t <- struct{}{}:
	default:
	}
}
