package agent

import (
	"context"
	"log/slog"
	"strings"
	"time"

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

// events is the source that reports the kernel's: what happens to a VXLAN device, or to the underlay, and what of a network is
// deleted. Other links are no business of the agent.
func (a *Agent) events(ctx context.Context) error {
	return kernel.Monitor(ctx, a.changed, a.gone)
}

// changed takes one report of the kernel's.
func (a *Agent) changed(e kernel.Event) {
	under := a.cache.place().link
	switch {
	case strings.HasPrefix(e.Link, overlay.LinkPrefix), strings.HasPrefix(e.Link, overlay.TunnelPrefix):
		a.disturb(e.Link)
	case e.Link == "", e.Link == under, e.Link == a.config.Underlay, under == "", e.Default:
	default:
		return
	}
	a.wake.set()
}

// purge removes what the containers of an earlier boot have left.
func (a *Agent) purge(ctx context.Context) {
	for name := range a.cache.remembered() {
		if err := a.machine.purge(ctx, name); err != nil {
			slog.Warn("addresses of an earlier boot are not removed yet", "network", name, "error", err)
		}
	}
}

// askRemote has networks be published, or all.
func (a *Agent) askRemote(names ...string) {
	a.cache.mark(&a.cache.remote, names...)
	a.remote.set()
}
