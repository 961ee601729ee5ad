package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/registry"
)

const (
	// auditShare is how much longer the pause after an audit is at least than the audit: it takes a small part of a core.
	auditShare = 20
	// flushAfter is how long documents that only a restart needs are put off.
	flushAfter = 5 * time.Second
)

// local is the loop that keeps files and kernel as they have to be. It never waits for etcd, and is used by one goroutine.
type local struct {
	*Agent
	// programmed is what the kernel has of each network, as far as this agent has seen to it. What is not in it is compared as a
	// whole.
	programmed map[string]snapshot
	// made is what the kernel has had last, whatever became of it.
	made    map[string]snapshot
	adopted bool
	repairs map[string]*repairs
	failed  map[string]bool // networks to look at again
}

// retryFailed is how long a network that could not be put right is left, unless something else is to be done.
const retryFailed = 10 * time.Second

// work reconciles what is asked for, and audits all networks now and then.
func (l *local) work(ctx context.Context) error {
	audit := time.NewTicker(l.config.Audit)
	defer audit.Stop()
	var flush, retry <-chan time.Time
	var audited time.Time
	var took time.Duration
	for {
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), l.files.flush())
		case <-audit.C:
			l.usage.set()
			l.askRemote()
			if time.Since(audited) >= auditShare*took {
				start := time.Now()
				l.verifyAll()
				l.reconcile(ctx)
				audited, took = time.Now(), time.Since(start)
			}
		case <-l.wake:
			l.reconcile(ctx)
		case <-retry:
			retry = nil
			l.reconcile(ctx)
		case <-flush:
			flush = nil
			l.problems.note(aboutFiles, l.files.flush())
		}
		if retry == nil && len(l.failed) > 0 {
			retry = time.After(retryFailed)
		}
		if flush == nil && l.files.pending() {
			flush = time.After(flushAfter)
		}
	}
}

// verifyAll forgets what the kernel has of all networks, so that it is compared: in one pass, as listings cost by all networks.
func (l *local) verifyAll() {
	clear(l.programmed)
	l.cache.mark(&l.cache.local, l.cache.anywhere()...)
}

// reconcile brings in line the networks that were marked. One that cannot be put right keeps no other from it.
func (l *local) reconcile(ctx context.Context) {
	start := time.Now()
	defer l.cache.endPass()
	p, err := l.machine.open()
	if err != nil {
		l.problems.note(aboutUnderlay, err)
		return
	}
	defer p.close()
	if l.findUnderlay(p) {
		l.cache.mark(&l.cache.local)
	}
	l.adopt()
	marked := l.cache.take(&l.cache.local)
	for name := range l.failed {
		marked.names = with(marked.names, name)
	}
	for _, name := range l.disturbed() {
		delete(l.programmed, name)
		marked.names = with(marked.names, name)
	}
	names := slices.Sorted(maps.Keys(marked.names))
	if marked.all {
		names = l.everything()
	}
	if unknown := slices.DeleteFunc(slices.Clone(names), l.knows); len(unknown) > 1 {
		p.remember()
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return
		}
		err := l.network(p, name)
		l.problems.found(ofNetwork+name, start, err)
		delete(l.failed, name)
		if err != nil {
			l.failed[name] = true
		}
	}
	l.problems.forgetAbsent(l.everything())
	l.metrics.passes.Observe(time.Since(start).Seconds())
}

// knows says whether it is known what the kernel has of a network.
func (l *local) knows(name string) bool {
	_, known := l.programmed[name]
	return known
}

func with(names map[string]bool, name string) map[string]bool {
	if names == nil {
		names = make(map[string]bool)
	}
	names[name] = true
	return names
}

// everything are the names of all networks that the registry or this host has anything of.
func (l *local) everything() []string {
	names := slices.Collect(maps.Keys(l.cache.remembered()))
	if s, ok := l.cache.state(); ok {
		names = slices.AppendSeq(names, maps.Keys(s.Networks))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// findUnderlay finds out by which address peers reach this host. When there is none, the last stays.
func (l *local) findUnderlay(p pass) (changed bool) {
	before, trouble := l.cache.place(), l.problems.of(aboutUnderlay)
	family := 0
	if s, ok := l.cache.state(); ok {
		family = s.Cluster.Family
	}
	now, err := p.findUnderlay(l.config.Underlay, family, before.address)
	l.problems.note(aboutUnderlay, err)
	if err != nil {
		return false
	}
	l.cache.with(func() { l.cache.underlay = now })
	if now == before {
		return trouble != nil // nothing was programmed meanwhile
	}
	if before.address.IsValid() && before.address != now.address {
		slog.Info("the address on the underlay has changed", "from", before.address, "to", now.address)
		l.leave(before.address)
	}
	clear(l.programmed)
	l.askRemote()
	return true
}

// adopt remembers, when etcd has been read for the first time, the networks of which this host has a conflist and neither a
// snapshot nor word from etcd: they were deleted while the agent was away, and their snapshots are lost or damaged. They go as
// any others.
func (l *local) adopt() {
	s, ok := l.cache.state()
	if !ok || l.adopted {
		return
	}
	made, err := l.offers.made()
	if err != nil {
		slog.Warn("networks that were deleted meanwhile are not looked for yet", "error", err)
		return
	}
	l.adopted = true
	for name, definition := range made {
		if _, is := l.cache.snapshot(name); !is && s.Networks[name].Absent() && !l.cache.isLost(name) {
			l.cache.setSnapshot(snapshot{definition: definition})
			l.cache.mark(&l.cache.local, name)
		}
	}
	l.count() // they may have containers
}

// network brings one network in line.
func (l *local) network(p pass, name string) error {
	before, there := l.cache.snapshot(name)
	s, known := l.cache.state()
	n := s.Networks[name]
	here := l.cache.place()
	switch {
	case !known || n.Absent() && l.cache.isLost(name):
		// What etcd said last, as long as it says nothing else: a store that was emptied has deleted nothing.
		if !there {
			return nil
		}
		return l.apply(p, before.at(here.address))
	case n.Absent():
		l.problems.note(ofDefinition+name, nil)
		if !there {
			return nil
		}
		return l.retire(p, before)
	}
	n, err := l.usable(n, before, there)
	if n == nil || !here.address.IsValid() {
		return err
	}
	if there && !before.definition.Same(n.Definition) {
		if err := l.remade(p, before); err != nil {
			return err
		}
		there = false
	}
	if err := l.fits(p, n, there); err != nil {
		return err
	}
	if l.cache.isJoined(name) {
		if err := l.mayEncrypt(n.Definition); err != nil {
			return err
		}
	}
	switch {
	case l.cache.isJoined(name) && n.Followed:
		return l.apply(p, l.describe(s, n, before, there))
	case there && before.member() && l.cache.isJoined(name):
		return l.apply(p, before.at(here.address)) // until its members are known
	}
	l.problems.note(ofRecords+name, nil)
	l.problems.note(ofAddresses+name, nil)
	if there && before.member() {
		l.want(name, nil)
		if _, err := p.remove(before); err != nil {
			return err
		}
		l.removed(name)
	}
	return l.apply(p, outside(n.Definition, n.Created, here.address))
}

// usable is a network with a definition. One whose definition cannot be read goes on with the one that this host remembers: it
// is not deleted.
func (l *local) usable(n *registry.Network, before snapshot, there bool) (*registry.Network, error) {
	var unreadable error
	if n.Unreadable != nil {
		unreadable = fmt.Errorf("it cannot be used, perhaps a later release wrote it, upgrade fairwayd: %w", n.Unreadable)
	}
	l.problems.note(ofDefinition+n.Name, unreadable)
	switch {
	case n.Readable():
		return n, nil
	case !there || before.created != n.Created:
		return nil, nil
	}
	kept := *n
	kept.Definition = before.definition
	return &kept, nil
}

// remade takes away a network in whose place etcd has another of the name. Containers that are still attached keep it.
func (l *local) remade(p pass, before snapshot) error {
	name := before.definition.Name
	l.want(name, nil)
	gone, err := p.remove(before)
	if err != nil {
		return err
	}
	if !gone || len(l.cache.reservedIn(name)) > 0 {
		return fmt.Errorf("it was made anew with another definition, and containers here are attached to the former one: remove them, and attach them again")
	}
	l.removed(name)
	l.cache.supersede(name)
	return nil
}

// removed notes that the kernel has nothing of a network.
func (l *local) removed(name string) {
	delete(l.programmed, name)
	delete(l.made, name)
	delete(l.repairs, name)
}

// fits refuses a network that is new here and would cut this host off.
func (l *local) fits(p pass, n *registry.Network, there bool) error {
	if there {
		return nil
	}
	if err := spares(n.Definition, l.endpoints()); err != nil {
		return err
	}
	return p.fits(outside(n.Definition, n.Created, l.cache.place().address))
}

// describe is this host's view of a network that it is a member of.
func (l *local) describe(s registry.State, n *registry.Network, before snapshot, there bool) snapshot {
	v := view{state: s, node: l.node(), key: l.keys.public(), next: l.keys.nextPublic(), here: l.cache.place(), reserved: l.cache.reservedIn(n.Name)}
	if there {
		v.hadPins = before.pins
	}
	l.cache.with(func() { v.had, v.lapsed = slices.Clone(l.cache.blocks[n.Name]), l.cache.lapsed })
	if seen, ok := l.cache.lastSeen()[n.Name]; ok && l.settling() && seen.definition.Same(n.Definition) {
		v.before = &seen
	}
	snap, faults, stranded := v.describe(n)
	l.problems.note(ofRecords+n.Name, faultsOf(n, faults))
	l.problems.note(ofAddresses+n.Name, strandedError(stranded))
	return snap
}

// faultsOf is one error for all records of a network that are left out, nil for none.
func faultsOf(n *registry.Network, faults []overlay.Fault) error {
	const shown = 5
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(n.Faults)) {
		errs = append(errs, fmt.Errorf("%s: %w", key, n.Faults[key]))
	}
	for _, f := range faults {
		errs = append(errs, errors.New(f.String()))
	}
	if more := len(errs) - shown; more > 0 {
		errs = append(errs[:shown], fmt.Errorf("and %d more", more))
	}
	return errors.Join(errs...)
}

func strandedError(addrs []netip.Addr) error {
	if len(addrs) == 0 {
		return nil
	}
	return fmt.Errorf("%v of containers here lie in blocks that are not this host's any more: attach these containers anew", addrs)
}

// apply puts a network in place on this host. The kernel is first: it is kept also when nothing can be written. A network that
// is new and cannot be programmed is not offered to runtimes; of one that is there, what can be done is done.
func (l *local) apply(p pass, snap snapshot) error {
	snap = l.lanes(snap)
	name := snap.definition.Name
	_, there := l.cache.snapshot(name)
	var errs []error
	// Without an underlay there is nothing to program, which is told once; what there was stays.
	if snap.member() && len(snap.own().Blocks) > 0 && l.problems.of(aboutUnderlay) == nil {
		if err := l.program(p, snap); err != nil {
			if !there {
				return err
			}
			errs = append(errs, err)
		}
	}
	l.cache.setSnapshot(snap)
	offered := l.mayUse(snap)
	l.cache.offers(name, offered)
	if err := l.files.write(snap, offered); err != nil {
		// A plugin that finds the conflist reads the snapshot.
		return errors.Join(append(errs, err)...)
	}
	l.cache.wrote(snap, offered)
	return errors.Join(append(errs, l.offers.ensure(snap.definition))...)
}

// mayUse are the blocks that the plugin is offered: those that etcd says are this host's, and are not being given back.
func (l *local) mayUse(snap snapshot) []netip.Prefix {
	name, blocks := snap.definition.Name, snap.own().Blocks
	if s, ok := l.cache.state(); ok {
		if n := s.Networks[name]; n != nil && n.Followed {
			blocks = slices.DeleteFunc(slices.Clone(blocks), func(b netip.Prefix) bool { return n.Blocks[b] != l.node() })
		} else if n.Absent() {
			blocks = nil // lost, and not claimed again yet
		}
	}
	return l.cache.offered(name, blocks)
}

// program brings the kernel in line: by the difference to what it has, or by comparing all when that is not known.
func (l *local) program(p pass, snap snapshot) error {
	name := snap.definition.Name
	l.want(name, &snap)
	before, known := l.programmed[name]
	if known && before.equal(snap) {
		return nil
	}
	delete(l.programmed, name)
	var from *snapshot
	if known {
		from = &before
	}
	// Until etcd has told all of it, nothing is removed: this host may have known more than it could write down.
	told := l.told(name)
	drift, err := p.program(snap, from, !told)
	if drift != nil {
		l.metrics.repairs.Inc()
		slog.Info("reconciling the kernel", "network", name, "drift", oneLine(drift))
	}
	if had := l.made[name]; !had.equal(snap) {
		drift = nil // of what is new nobody has taken anything away
	}
	if err == nil {
		l.watch(snap)
		l.made[name] = snap
	}
	if err == nil && told {
		l.programmed[name] = snap
	}
	return errors.Join(err, l.repeated(name, drift))
}

// told says whether etcd has been read, and of a network that this host is on who its members are.
func (l *local) told(name string) bool {
	s, known := l.cache.state()
	n := s.Networks[name]
	return known && (n == nil || n.Followed || !l.cache.isJoined(name))
}

// retire takes away what this host has of a network that was deleted. Containers that are still attached keep theirs.
func (l *local) retire(p pass, snap snapshot) error {
	name := snap.definition.Name
	if err := l.offers.remove(name); err != nil {
		return err
	}
	l.want(name, nil)
	gone, err := p.remove(snap)
	if err != nil {
		return err
	}
	if !gone || len(l.cache.reservedIn(name)) > 0 {
		return errDeleted
	}
	if err := l.files.remove(name); err != nil {
		return err
	}
	l.removed(name)
	l.cache.forget(name)
	l.following.Join(l.cache.joinedNetworks())
	slog.Info("removed", "network", name)
	return nil
}

var errDeleted = errors.New("deleted while containers are attached: it goes with the last one")

// repairs are how often a network was found changed by somebody else.
type repairs struct {
	count int
	since time.Time
}

const (
	// A network that was repaired more often than repairsMax within repairsWithin is fought over.
	repairsMax    = 10
	repairsWithin = time.Minute
)

// repeated is a problem when a network has to be repaired again and again.
func (l *local) repeated(name string, drift error) error {
	r := l.repairs[name]
	if r == nil || time.Since(r.since) > repairsWithin {
		r = &repairs{since: time.Now()}
		l.repairs[name] = r
	}
	if drift == nil {
		return nil
	}
	if r.count++; r.count <= repairsMax {
		return nil
	}
	return fmt.Errorf("it was repaired %d times within %v: something else changes it, such as a second fairwayd or a network manager: last %s",
		r.count, repairsWithin, oneLine(drift))
}
