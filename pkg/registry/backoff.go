package registry

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	backoffFirst = 100 * time.Millisecond
	backoffMost  = 5 * time.Second
	// backoffCalm is how long things have to go well for the next pause to be short again.
	backoffCalm = 10 * time.Second
)

// backoff is the pause before something that failed is tried again. Pauses double, up to a limit, and are random, so that
// hosts which lost etcd together do not come back together. The zero value is ready.
type backoff struct {
	pause time.Duration
	last  time.Time
}

// next is the length of the next pause, and its upper limit.
func (b *backoff) next(now time.Time) (pause, limit time.Duration) {
	if b.pause == 0 || now.Sub(b.last) > b.pause+backoffCalm {
		b.pause = backoffFirst
	} else {
		b.pause = min(2*b.pause, backoffMost)
	}
	b.last = now
	return b.pause/2 + rand.N(b.pause/2), b.pause
}

// wait pauses, or returns early when the context ends.
func (b *backoff) wait(ctx context.Context) {
	pause, _ := b.next(time.Now())
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
