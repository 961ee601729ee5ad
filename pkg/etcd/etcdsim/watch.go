package etcdsim

import (
	"context"
	"fmt"
	"time"

	"github.com/fairway-cni/fairway/pkg/etcd"
)

// progressEvery is how often a watch says up to where it has told everything.
const progressEvery = time.Minute

// watcher is one watch.
type watcher struct {
	client *Client
	keys   etcd.Range
	seen   int64 // revision up to which it was told
	woken  chan struct{}
	ended  chan struct{}
}

func (w *watcher) wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// disconnect ends watches.
func (s *Sim) disconnect(which func(*watcher) bool) {
	for w := range s.watchers {
		if which(w) {
			delete(s.watchers, w)
			close(w.ended)
		}
	}
}

// Watch implements etcd.Store.
func (c *Client) Watch(ctx context.Context, r etcd.Range) <-chan etcd.Event {
	events := make(chan etcd.Event)
	go func() {
		defer close(events)
		send := func(e etcd.Event) bool {
			select {
			case events <- e:
				return true
			case <-ctx.Done():
				return false
			}
		}
		if err := c.watch(ctx, r, send); err != nil {
			send(etcd.Event{Err: err})
		}
	}()
	return events
}

func (c *Client) watch(ctx context.Context, r etcd.Range, send func(etcd.Event) bool) error {
	w := &watcher{client: c, keys: r, seen: r.Revision - 1, woken: make(chan struct{}, 1), ended: make(chan struct{})}
	var header etcd.Header
	err := c.do(ctx, func() error {
		if r.Revision <= c.sim.data.compacted {
			return etcd.ErrCompacted
		}
		// A revision that has not come yet is taken in silence, as etcd does.
		c.sim.watchers[w] = true
		header = c.sim.header()
		return nil
	})
	if err != nil {
		return err
	}
	defer func() {
		c.sim.mu.Lock()
		defer c.sim.mu.Unlock()
		delete(c.sim.watchers, w)
	}()
	if !send(etcd.Event{Header: header}) {
		return nil
	}
	progress := time.NewTicker(progressEvery)
	defer progress.Stop()
	for {
		c.sim.mu.Lock()
		event := etcd.Event{Header: c.sim.header(), Changes: w.next(c.sim.data, c.sim.unheard)}
		c.sim.mu.Unlock()
		if len(event.Changes) > 0 {
			if err := sleep(ctx, c.delay()); err != nil || !send(event) {
				return nil
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-w.ended:
			return fmt.Errorf("etcd: %w: %w", etcd.ErrUnavailable, etcd.ErrDisconnected)
		case <-w.woken:
		case <-progress.C:
			// What came since is not said to be told.
			if !send(etcd.Event{Header: etcd.Header{Cluster: event.Cluster, Revision: event.Revision}, Progress: true}) {
				return nil
			}
		}
	}
}

// next are the changes that it was not told of.
func (w *watcher) next(d data, unheard int64) (changes []etcd.Change) {
	for _, ch := range d.history {
		if ch.Modified > w.seen && ch.Modified != unheard && (ch.Key == w.keys.Key || w.keys.End != "" && ch.Key >= w.keys.Key && ch.Key < w.keys.End) {
			changes = append(changes, ch)
		}
	}
	w.seen = max(w.seen, d.revision)
	return changes
}
