package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/registry"
	"github.com/fairway-cni/fairway/pkg/state/vxlan"
	"github.com/fairway-cni/fairway/pkg/vtep"
)

// work brings this host in line when something asks for it, and at each audit.
func (a *Agent) work(ctx context.Context) error {
	audit := time.NewTicker(a.config.Audit)
	defer audit.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-audit.C:
			a.usage.set()
			a.remote.set()
		case <-a.local:
		case <-a.news:
			a.reconcile(ctx, news)
			continue
		}
		a.reconcile(ctx, everything)
	}
}

// scope is what a pass looks at.
type scope int

const (
	everything scope = iota
	news             // networks of which something else is known than before, or that had a problem
)

// reconcile compares files and kernel with what is known, once, and puts right what differs. A network that cannot be put
// right keeps no other from it.
func (a *Agent) reconcile(ctx context.Context, s scope) {
	start := time.Now()
	defer a.known.endPass()
	k, err := kernel.Open("")
	if err != nil {
		a.known.note(aboutUnderlay, err)
		return
	}
	defer k.Close()
	a.findUnderlay(k)
	a.adopt()
	wanted, gone := a.wanted()
	for _, name := range slices.Sorted(maps.Keys(gone)) {
		a.known.note(aboutNetwork(name), a.retire(k, gone[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if ctx.Err() != nil {
			return
		}
		if s == everything || !a.settledAs(wanted[name]) {
			a.known.note(aboutNetwork(name), a.realise(k, wanted[name]))
		}
	}
	present := slices.AppendSeq(slices.Collect(maps.Keys(wanted)), maps.Keys(gone))
	a.known.noteOnly(aboutNetwork, present)
	a.known.noteOnly(aboutRecords, present)
	if s, ok := a.known.state(); ok {
		a.known.noteOnly(aboutDefinition, slices.Collect(maps.Keys(s.Networks)))
	}
	a.metrics.passes.Observe(time.Since(start).Seconds())
}

// findUnderlay finds out by which address peers reach this host. When there is none, the last stays.
func (a *Agent) findUnderlay(k *kernel.Kernel) {
	before, trouble := a.known.vtep(), a.known.problem(aboutUnderlay)
	addr, link, err := resolveUnderlay(k, a.config.Underlay, before)
	a.known.note(aboutUnderlay, err)
	if err != nil {
		return
	}
	a.known.with(func() { a.known.address, a.known.link = addr, link })
	if trouble != nil {
		a.local.set() // nothing was programmed meanwhile
	}
	if addr == before {
		return
	}
	if before.IsValid() {
		slog.Info("the address on the underlay has changed", "from", before, "to", addr)
		a.registry.Leave(before)
	}
	a.remote.set()
}

// wanted is what this host should have of each network, and what it has of networks that are no more. Before etcd has
// been read, it is what the snapshots say.
func (a *Agent) wanted() (wanted, gone map[string]snapshot) {
	here, remembered := a.known.vtep(), a.known.remembered()
	wanted, gone = make(map[string]snapshot), make(map[string]snapshot)
	s, ok := a.known.state()
	if !ok {
		for name, snap := range remembered {
			wanted[name] = snap.at(here)
		}
		return wanted, gone
	}
	for name, n := range s.Networks {
		n, ok := a.usable(name, n, remembered)
		if !ok || !here.IsValid() {
			continue
		}
		snap, faults := describe(n, a.config.Node, here)
		a.known.note(aboutRecords(name), faultsOf(n, faults))
		wanted[name] = snap
	}
	for name, snap := range remembered {
		if s.Networks[name].Absent() {
			gone[name] = snap
		}
	}
	return wanted, gone
}

// usable is a network with a definition. One whose definition cannot be read goes on with the one that this host remembers: it
// is not deleted.
func (a *Agent) usable(name string, n *registry.Network, remembered map[string]snapshot) (*registry.Network, bool) {
	if n.Absent() {
		return nil, false
	}
	var unreadable error
	if n.Unreadable != nil {
		unreadable = fmt.Errorf("it cannot be used, perhaps a later release wrote it, upgrade fairwayd: %w", n.Unreadable)
	}
	a.known.note(aboutDefinition(name), unreadable)
	if n.Readable() {
		return n, true
	}
	before, ok := remembered[name]
	if !ok || before.created != n.Created {
		return nil, false
	}
	kept := *n
	kept.Definition = before.definition
	return &kept, true
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

// adopt remembers, when etcd has been read for the first time, the networks of which this host has a conflist and neither a
// snapshot nor word from etcd: they were deleted while the agent was away, and their snapshots are lost or damaged. They go as
// any others.
func (a *Agent) adopt() {
	s, ok := a.known.state()
	if !ok || a.adopted {
		return
	}
	made, err := a.conflists.made()
	if err != nil {
		slog.Warn("networks that were deleted meanwhile are not looked for yet", "error", err)
		return
	}
	a.adopted = true
	remembered := a.known.remembered()
	for name, definition := range made {
		if _, is := remembered[name]; !is && s.Networks[name].Absent() {
			a.known.setSnapshot(snapshot{definition: definition})
		}
	}
	a.count() // they may have containers
}

// settledAs says whether the last pass has left a network as it is wanted.
func (a *Agent) settledAs(snap snapshot) bool {
	name := snap.definition.Name
	before, ok := a.known.remembered()[name]
	return ok && before.equal(snap) && a.known.problem(aboutNetwork(name)) == nil
}

// realise puts a network in place on this host. The kernel is first: it is kept also when nothing can be written. A network that
// is new and cannot be programmed is not offered to runtimes; of one that is there, what can be done is done.
func (a *Agent) realise(k *kernel.Kernel, snap snapshot) error {
	name := snap.definition.Name
	before, there := a.known.remembered()[name]
	var errs []error
	// Without an underlay there is nothing to program, which is told once; what there was stays.
	if a.known.problem(aboutUnderlay) == nil {
		if err := a.program(k, snap); err != nil {
			if !there {
				return err
			}
			errs = append(errs, err)
		}
	}
	if !there || !before.equal(snap) {
		if err := a.store.write(snap); err != nil {
			return errors.Join(append(errs, err)...) // a plugin that finds the conflist reads the snapshot
		}
		a.known.setSnapshot(snap)
	}
	return errors.Join(append(errs, a.conflists.ensure(snap.definition))...)
}

// program brings the kernel in line.
func (a *Agent) program(k *kernel.Kernel, snap snapshot) error {
	o, err := declare(k, snap)
	if err != nil {
		return err
	}
	drift := o.Verify(k)
	if drift == nil {
		return nil
	}
	a.metrics.repairs.Inc()
	slog.Info("bringing the kernel in line", "network", snap.definition.Name, "because", oneLine(drift))
	_, err = o.Ensure(k)
	return err
}

// declare is this host's part of a network as kernel state.
func declare(k *kernel.Kernel, snap snapshot) (vxlan.Overlay, error) {
	network := snap.network()
	if err := network.Check(snap.hosts); err != nil {
		return vxlan.Overlay{}, err
	}
	own := snap.own()
	underlay, err := vxlan.UnderlayOf(k, own.VTEP)
	if err != nil {
		return vxlan.Overlay{}, err
	}
	if most := underlay.MTU - overlay.Overhead(own.VTEP); network.MTU > most {
		return vxlan.Overlay{}, fmt.Errorf("mtu %d is more than %d, which %s with MTU %d has room for: raise that, or make the network with a smaller one",
			network.MTU, most, underlay.Link, underlay.MTU)
	}
	return vtep.Declare(network, snap.hosts, own, underlay.MTU), nil
}

// retire takes away what this host has of a network that was deleted. Containers that are still attached keep theirs.
func (a *Agent) retire(k *kernel.Kernel, snap snapshot) error {
	name := snap.definition.Name
	if err := a.conflists.remove(name); err != nil {
		return err
	}
	o := vtep.Declare(snap.network(), snap.hosts, snap.own(), 0)
	used, err := o.Used(k)
	if err != nil {
		return err
	}
	if used || len(a.known.reservedIn(name)) > 0 {
		return errDeleted
	}
	if err := o.Remove(k); err != nil {
		return err
	}
	if err := a.store.remove(name); err != nil {
		return err
	}
	a.known.forget(name)
	slog.Info("removed", "network", name)
	return nil
}

// oneLine is an error's text without line breaks: errors that are joined have them.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
