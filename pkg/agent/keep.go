package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/fairway-cni/fairway/pkg/etcd"
)

// looks is how many times the keeper looks during a hold.
const looks = 24

// keep reclaims what dead hosts own, while this host is the keeper.
func (a *Agent) keep(ctx context.Context) error {
	keeper := a.registry.NewKeeper(a.node())
	for {
		pause := a.hold() / looks
		timer := time.NewTimer(pause + rand.N(pause)) // not all agents at once
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case now := <-timer.C:
			if _, ok := a.cache.state(); ok && !a.settling() {
				a.problems.note(aboutReclaim, unavailable(keeper.Look(ctx, a.cache.beat().lease, now)))
			}
		}
	}
}

// unavailable leaves out that etcd does not answer.
func unavailable(err error) error {
	if errors.Is(err, etcd.ErrUnavailable) {
		return nil
	}
	return err
}
