package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/fence"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/registry"
)

// follow is the source that reports the registry.
func (a *Agent) follow(ctx context.Context) error {
	a.following.Run(ctx)
	return ctx.Err()
}

// defaults are what the first host of a cluster decides for all.
func (a *Agent) defaults() registry.Defaults {
	d := registry.Defaults{ReclaimAfter: registry.Duration(a.config.ReclaimAfter), Family: 4}
	if here := a.cache.place().address; here.Is6() {
		d.Family = 6
	}
	return d
}

type follower struct{ *Agent }

// Update takes a new state.
func (f follower) Update(s registry.State, changed registry.Changed) {
	slog.Debug("update", "revision", s.Revision, "networks", changed.Networks, "hosts", changed.Hosts)
	f.cache.setState(s)
	f.takeNames(changed.Names, changed.Networks)
	if changed.Cluster {
		f.takeCluster(s.Cluster)
	}
	if changed.Hosts {
		f.problems.note(aboutRecords, faultsOf(&registry.Network{Faults: s.Faults}, nil))
		f.rotation.turn.set()
	}
	if len(changed.Networks) > 0 {
		f.cache.mark(&f.cache.local, changed.Networks...)
		f.cache.mark(&f.cache.remote, changed.Networks...)
	}
	f.wake.set()
	f.remote.set()
	f.naming.set()
}

// takeCluster takes what all hosts have in common.
func (f follower) takeCluster(c registry.Cluster) {
	f.cache.mark(&f.cache.local)
	f.cache.mark(&f.cache.remote)
	if hold := time.Duration(c.ReclaimAfter); hold > 0 && hold != f.config.ReclaimAfter {
		slog.Info("reclaim-after is the cluster's", "cluster", hold, "here", f.config.ReclaimAfter)
	}
}

// Remember keeps the memory of the store. One that went back is what this host tells it again.
func (f follower) Remember(m registry.Memory, wentBack error) {
	if wentBack != nil {
		f.problems.happened("%v: this host claims again what it had", wentBack)
		f.keepMemory()
		f.cache.wentBack() // first: with no state, nothing that is lost counts as found
		f.cache.setLost()
		f.whenSettled()
		f.askRemote()
	}
	f.saveIdentity(m, wentBack != nil)
}

// whenSettled looks at everything again when what the store has lost is not kept any more.
func (a *Agent) whenSettled() {
	time.AfterFunc(a.cache.settlesIn()+time.Second, func() {
		if a.settling() {
			a.whenSettled()
			return
		}
		a.saveMemory()
		a.takeNames(nil, a.cache.anywhere()) // without those that were kept meanwhile
		a.cache.mark(&a.cache.local)
		a.wake.set()
		a.askRemote()
	})
}

// settling says whether the store went back a moment ago.
func (a *Agent) settling() bool {
	return a.cache.settlesIn() > 0
}

// Disturbed notes whether the registry is followed.
func (f follower) Disturbed(err error) {
	f.cache.setFollows(err == nil)
	f.problems.note(aboutEtcd, err)
}

// connections is the source that reports whether etcd is reached.
func (a *Agent) connections(ctx context.Context) error {
	a.link(ctx, func(connected bool) {
		a.cache.setLinked(connected)
		if connected {
			a.remote.set()
		}
	})
	return ctx.Err()
}

// beat keeps this host's heartbeat in etcd.
func (a *Agent) beat(ctx context.Context) error {
	a.registry.Beat(ctx, registry.Heartbeat{
		Node: a.node(), BootID: a.bootID, Machine: a.identity.Machine, TTL: a.config.AliveTTL, Report: a.beaten, NotCopied: a.notCopied,
	})
	return ctx.Err()
}

func isTaken(err error) bool { return errors.Is(err, registry.ErrNodeTaken) }

// beaten takes a report of the heartbeat.
func (a *Agent) beaten(lease int64, err error) {
	var before heartbeat
	if err == nil {
		a.noteLapse()
		a.confirmed()
	}
	a.cache.with(func() {
		before = a.cache.beating
		a.cache.beating.lease, a.cache.beating.err = lease, err
		if err == nil {
			a.cache.beating.confirmed = time.Now()
		}
	})
	a.problems.note(aboutNode, err)
	a.setFence(err)
	if isTaken(err) != isTaken(before.err) || err == nil && before.lease == 0 {
		a.cache.mark(&a.cache.local)
		a.wake.set()
		a.askRemote()
	}
	if lease != before.lease {
		a.naming.set()
	}
}

// hold is the cluster's, as it is known.
func (a *Agent) hold() (hold time.Duration) {
	a.cache.with(func() { hold = a.cache.hold })
	if hold == 0 {
		hold = a.config.ReclaimAfter
	}
	return hold
}

// setFence says until when the plugin may give out addresses: well before others may take this host's blocks, and not at all while
// another machine has its name.
func (a *Agent) setFence(err error) {
	var f fence.Fence
	switch {
	case isTaken(err):
		f.Reason = err.Error()
	case err != nil:
		return // the last one counts
	case a.cache.isLapsed():
		time.AfterFunc(vouchAfter, func() { a.askRemote() })
		return // until it knows which blocks it still has, see publisher.recover
	default:
		f = a.clock().After(a.untilFence())
	}
	a.fencing.Lock()
	defer a.fencing.Unlock()
	a.writeFence(f)
}

// untilFence is how long after it was seen a host may give out addresses.
func (a *Agent) untilFence() time.Duration { return a.hold() - a.hold()/4 }

// noteLapse notes that a host which is seen again was not for so long that others may have taken its blocks.
func (a *Agent) noteLapse() {
	a.fencing.Lock()
	defer a.fencing.Unlock()
	if a.fenced.Reason == "" && !a.fenced.Until.IsZero() && a.fenced.Check(a.clock()) != nil {
		a.cache.lapse()
	}
}

// writeFence writes what has changed, under the lock.
func (a *Agent) writeFence(f fence.Fence) {
	if f.Reason == a.fenced.Reason && !f.Until.IsZero() == !a.fenced.Until.IsZero() && f.Boot == a.fenced.Boot && f.Until.Sub(a.fenced.Until) < a.hold()/64 {
		return
	}
	err := a.files.saveFence(f)
	if err == nil {
		a.fenced = f
	}
	a.problems.note(aboutFiles, err)
}

// saveEvery is how often the memory of the store is written, beside what matters at once.
const saveEvery = 30 * time.Second

// memory is by what this host knows the store.
func (a *Agent) memory() registry.Memory {
	a.fencing.Lock()
	defer a.fencing.Unlock()
	return a.identity.Memory
}

// keepMemory keeps on disk the memory of the store as it was before it went back, until this host has what the store had lost: after a
// restart it finds out again. By the new one, what is lost would count as deleted.
func (a *Agent) keepMemory() {
	a.fencing.Lock()
	defer a.fencing.Unlock()
	if a.kept.ID == "" {
		a.kept = a.identity.Memory
	}
}

// saveIdentity writes who this host is to the cluster.
func (a *Agent) saveIdentity(m registry.Memory, now bool) {
	a.fencing.Lock()
	defer a.fencing.Unlock()
	a.writeIdentity(m, now)
}

// saveMemory writes what is known.
func (a *Agent) saveMemory() {
	a.fencing.Lock()
	defer a.fencing.Unlock()
	a.writeIdentity(a.identity.Memory, true)
}

func (a *Agent) writeIdentity(m registry.Memory, now bool) {
	// A block is offered only after that: the memory has to know of it.
	now = a.claimed.Swap(false) || now || m.ID != a.identity.Memory.ID || m.Epoch != a.identity.Memory.Epoch
	a.identity.Memory, a.identity.Hold = m, a.hold()
	if !now && time.Since(a.saved) < saveEvery {
		return
	}
	a.saved = time.Now()
	if !a.settling() && !a.cache.lacks() {
		a.kept = registry.Memory{}
	}
	written := a.identity
	if a.kept.ID != "" {
		written.Memory = a.kept
	}
	if err := a.files.saveIdentity(written); err != nil {
		slog.Warn("the state of the store is not remembered yet", "error", err)
	}
}

// events is the source that reports the kernel's: what happens to a VXLAN device, or to the underlay, and what of a network is
// deleted. Other links are no business of the agent.
func (a *Agent) events(ctx context.Context) error {
	return kernel.Monitor(ctx, func(e kernel.Event) {
		under := a.cache.place().link
		switch {
		case strings.HasPrefix(e.Link, overlay.LinkPrefix), strings.HasPrefix(e.Link, overlay.TunnelPrefix):
			a.disturb(e.Link)
		case e.Link == "", e.Link == under, e.Link == a.config.Underlay, under == "", e.Default:
		default:
			return
		}
		a.wake.set()
	}, a.gone)
}

// purge removes what the containers of an earlier boot have left.
func (a *Agent) purge(ctx context.Context) {
	for name := range a.cache.remembered() {
		if err := a.machine.purge(ctx, name); err != nil {
			slog.Warn("addresses of an earlier boot are not removed yet", "network", name, "error", err)
		}
	}
}

// count reads which addresses containers have, of some networks or of all, and asks for what follows from that. One count ends
// before the next begins, so that the last to be kept is the last that was read.
func (a *Agent) count(names ...string) {
	a.counting.Lock()
	defer a.counting.Unlock()
	if len(names) == 0 {
		names = a.cache.anywhere()
	}
	for _, name := range names {
		addrs, err := a.machine.reserved(name)
		if err != nil {
			slog.Warn("addresses in use are not known", "network", name, "error", err)
			continue
		}
		if !a.cache.setReserved(name, addrs) {
			continue
		}
		a.askRemote(name)
		if len(addrs) == 0 || a.problems.of(ofAddresses+name) != nil || a.problems.of(ofNetwork+name) != nil {
			a.cache.mark(&a.cache.local, name) // one that was deleted goes with its last container
			a.wake.set()
		}
	}
}

// askRemote has networks be published, or all.
func (a *Agent) askRemote(names ...string) {
	a.cache.mark(&a.cache.remote, names...)
	a.remote.set()
}

// watchReservations is the source that reports containers which come and go, by host-local's directories. Without inotify,
// of which a host has a limited number, they are counted with each audit.
func (a *Agent) watchReservations(ctx context.Context) error {
	if err := os.MkdirAll(a.config.DataDir, 0o755); err != nil {
		return fmt.Errorf("data-dir: %w", err)
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		slog.Warn("inotify limit reached; new containers are detected only by polling: raise fs.inotify.max_user_instances", "error", err)
		watcher = &fsnotify.Watcher{} // which says nothing
	} else {
		defer func() { _ = watcher.Close() }() // nothing is buffered
	}
	var changed []string // all at first
	for first := true; ; first = false {
		if err == nil {
			a.watchDirectories(watcher, first)
		}
		a.count(changed...)
		if changed = quiet(ctx, watcher, a.usage, a.config.DataDir); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// watchDirectories watches host-local's, and those of the networks that have one yet. Of a new one we are told.
func (a *Agent) watchDirectories(watcher *fsnotify.Watcher, first bool) {
	if err := watcher.Add(a.config.DataDir); err != nil && first {
		slog.Warn("inotify limit reached; new containers are detected only by polling: raise fs.inotify.max_user_watches", "error", err)
	}
	for _, name := range a.cache.anywhere() {
		_ = watcher.Add(filepath.Join(a.config.DataDir, name)) // there may be none yet
	}
}

// settle is how long a burst of events is waited for: containers often come in numbers.
const settle = 20 * time.Millisecond

// quiet waits for an event and the end of its burst, or for a question, and gives the networks that it was about, none for all.
func quiet(ctx context.Context, watcher *fsnotify.Watcher, asked trigger, dir string) []string {
	var burst <-chan time.Time
	changed := make(map[string]bool)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err, open := <-watcher.Errors:
			if !open {
				return nil
			}
			slog.Warn("inotify", "error", err) // events may be missed: count
			return nil
		case e, open := <-watcher.Events:
			if !open {
				return nil
			}
			if !e.Has(fsnotify.Create | fsnotify.Remove | fsnotify.Rename) {
				continue
			}
			network := filepath.Base(filepath.Dir(e.Name))
			if filepath.Dir(e.Name) == filepath.Clean(dir) {
				network = filepath.Base(e.Name)
			}
			changed[network] = true
			if burst == nil {
				burst = time.After(settle)
			}
		case <-asked:
			return nil
		case <-burst:
			return slices.Collect(maps.Keys(changed))
		}
	}
}

// watched is what to put back at once when somebody deletes it.
type watched struct {
	mu      sync.Mutex
	wanted  map[string]snapshot // what the kernel is to have of a network, by its name
	devices map[string]string   // network, by device
	hurt    map[string]bool     // networks of which something was deleted or changed
}

// want notes what the kernel is about to have of a network: what goes then is not missed. Nil: nothing.
func (l *local) want(name string, s *snapshot) {
	l.watched.mu.Lock()
	defer l.watched.mu.Unlock()
	delete(l.watched.wanted, name)
	if s != nil {
		l.watched.wanted[name] = *s
	}
}

// watch notes the device of a network that is programmed.
func (l *local) watch(s snapshot) {
	l.watched.mu.Lock()
	defer l.watched.mu.Unlock()
	l.watched.devices[s.network().Device()] = s.definition.Name
	if s.replaces() {
		l.watched.devices[overlay.SpareTunnelName(s.definition.VNI)] = s.definition.Name
	}
}

// disturb notes that a device has changed.
func (a *Agent) disturb(device string) {
	a.watched.mu.Lock()
	defer a.watched.mu.Unlock()
	if name, ok := a.watched.devices[device]; ok {
		a.watched.hurt[name] = true
	}
}

// disturbed gives the networks of which something was changed, once.
func (a *Agent) disturbed() []string {
	a.watched.mu.Lock()
	defer a.watched.mu.Unlock()
	names := slices.Collect(maps.Keys(a.watched.hurt))
	clear(a.watched.hurt)
	return names
}

// gone takes the report that an entry was deleted: it is put back when a network of this host has it.
func (a *Agent) gone(e kernel.Gone) {
	a.watched.mu.Lock()
	defer a.watched.mu.Unlock()
	for name, snap := range a.watched.wanted {
		if e.Link != "" && e.Link != snap.network().Device() && e.Link != overlay.SpareTunnelName(snap.definition.VNI) || !has(snap, e) {
			continue
		}
		a.watched.hurt[name] = true
		a.wake.set()
	}
}

// has says whether a snapshot has an entry of the kernel.
func has(s snapshot, e kernel.Gone) bool {
	for i, p := range s.hosts.Peers {
		switch {
		case e.FDB && i > 0 && kernel.MAC(overlay.VTEPMAC(s.definition.VNI, p.VTEP)) == e.MAC:
			return true
		case e.FDB:
			continue
		case e.Dst.IsValid() && slices.Contains(p.Blocks, e.Dst):
			return true
		case e.Addr.IsValid() && i > 0 && slices.ContainsFunc(p.Blocks, func(b netip.Prefix) bool { return b.Addr() == e.Addr }):
			return true
		}
	}
	if e.Dst.IsValid() && slices.ContainsFunc(s.definition.Subnets, func(n agentapi.Subnet) bool { return n.Prefix == e.Dst }) {
		return true
	}
	return slices.ContainsFunc(s.hosts.Pins, func(p overlay.Pin) bool {
		return p.VTEP != s.hosts.Self && (p.Address == e.Addr || e.Dst == netip.PrefixFrom(p.Address, p.Address.BitLen()))
	})
}
