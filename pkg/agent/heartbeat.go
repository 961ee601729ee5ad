package agent

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/fairway-cni/fairway/pkg/fence"
	"github.com/fairway-cni/fairway/pkg/registry"
)

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
