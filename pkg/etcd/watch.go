package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A watch is asked for its progress each askProgress, and given up when there was no word of it for silenceMax: a member that
// hangs while its connection lives would otherwise go unnoticed. etcd's grpc-proxy passes no such question on: behind it there are only
// the notifications that a member sends by itself, each ten minutes unless it is told otherwise.
const (
	askProgress  = time.Minute
	silenceMax   = 3 * askProgress
	silenceProxy = 25 * time.Minute
	// Two answers, each within answerMax, show that there is no proxy.
	answerMax = 10 * time.Second
)

// silence is how long a watch says nothing.
type silence struct {
	heard, asked time.Time
	answers      int
}

// hear takes a word.
func (s *silence) hear(now time.Time, progress bool) {
	if s.heard = now; progress && now.Sub(s.asked) < answerMax {
		s.answers++
	}
}

// tooLong says whether the watch is to be given up.
func (s *silence) tooLong(now time.Time) bool {
	if s.answers < 2 {
		return now.Sub(s.heard) > silenceProxy
	}
	return now.Sub(s.heard) > silenceMax
}

var (
	errNoLeader = errors.New("the member that is asked has no leader")
	errSilent   = errors.New("the member that is watched says nothing")
)

// Watch implements Store.
func (c *Client) Watch(ctx context.Context, r Range) <-chan Event {
	events := make(chan Event)
	c.mu.Lock()
	lost := c.lost
	c.mu.Unlock()
	go func() {
		defer close(events)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		err := c.watch(ctx, r, lost, func(e Event) bool { return send(ctx, events, e) })
		send(ctx, events, Event{Err: err})
	}()
	return events
}

func send(ctx context.Context, events chan<- Event, e Event) bool {
	select {
	case events <- e:
		return true
	case <-ctx.Done():
		return false
	}
}

// watch serves one watch until something interrupts it.
func (c *Client) watch(ctx context.Context, r Range, lost <-chan struct{}, send func(Event) bool) error {
	options := []clientv3.OpOption{clientv3.WithRev(r.Revision), clientv3.WithCreatedNotify(), clientv3.WithFragment(), clientv3.WithProgressNotify()}
	if r.End != "" {
		options = append(options, clientv3.WithRange(r.End))
	}
	ctx = clientv3.WithRequireLeader(ctx)
	responses := c.etcd.Watch(ctx, r.Key, options...)
	progress := time.NewTicker(askProgress)
	defer progress.Stop()
	silent := silence{heard: time.Now()}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-lost:
			return fmt.Errorf("etcd: %w: %w", ErrUnavailable, ErrDisconnected)
		case now := <-progress.C:
			if silent.tooLong(now) {
				return fmt.Errorf("etcd: %w: %w", ErrUnavailable, errSilent)
			}
			silent.asked = now
			_ = c.etcd.RequestProgress(ctx) // the answer is what counts
		case response, open := <-responses:
			if !open {
				return fmt.Errorf("etcd: %w: %w", ErrUnavailable, ErrDisconnected)
			}
			silent.hear(time.Now(), response.IsProgressNotify())
			if err := response.Err(); err != nil {
				return watchError(err)
			}
			if !send(eventOf(response)) {
				return ctx.Err()
			}
		}
	}
}

func watchError(err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		return ErrCompacted
	case errors.Is(err, rpctypes.ErrFutureRev):
		return ErrFuture
	case errors.Is(err, rpctypes.ErrNoLeader):
		err = errNoLeader
	}
	return fmt.Errorf("etcd: %w: %w", ErrUnavailable, err)
}

func eventOf(r clientv3.WatchResponse) Event {
	e := Event{Header: Header{r.Header.ClusterId, r.Header.Revision}, Progress: r.IsProgressNotify()}
	for _, event := range r.Events {
		kv := event.Kv
		e.Changes = append(e.Changes, Change{
			KV: KV{string(kv.Key), string(kv.Value), kv.CreateRevision, kv.ModRevision}, Deleted: event.Type == clientv3.EventTypeDelete,
		})
	}
	return e
}
