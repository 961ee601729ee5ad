package registry

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairway-cni/fairway/pkg/agentapi"
)

// Follower is told what the registry holds.
type Follower interface {
	// Update is called with the first complete state, and with each later one that differs, with the names of the networks
	// that do. The next call comes after it returns.
	Update(s State, changed []string)
	// Disturbed is called with each error that interrupts the following, and with nil when it goes on.
	Disturbed(err error)
}

const (
	pageSize = 1000
	// A batch ends when nothing came for batchQuiet, or after batchMax.
	batchQuiet = 10 * time.Millisecond
	batchMax   = 50 * time.Millisecond
)

var errLeaderLost = errors.New("the member that is asked has no leader")

// Follow reads everything and then every change, until the context ends. It survives etcd's absence, and changes that it
// missed while it was away, however long: when etcd has compacted them, it reads everything again and compares by value.
func (c *Client) Follow(ctx context.Context, f Follower) {
	var pause backoff
	var s State
	for listed := false; ctx.Err() == nil; {
		var err error
		if !listed {
			s, err = c.refresh(ctx, s, f)
			listed = err == nil
		}
		if err == nil {
			s, err = c.watch(ctx, s, f)
		}
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, rpctypes.ErrCompacted) {
			listed = false
		}
		f.Disturbed(err)
		pause.wait(ctx)
	}
}

// refresh reads everything.
func (c *Client) refresh(ctx context.Context, s State, f Follower) (State, error) {
	revision, list, err := c.list(ctx)
	if err != nil {
		return s, err
	}
	first := s.Networks == nil
	next, changed := s.replace(revision, list)
	if first || len(changed) > 0 {
		f.Update(next, changed)
	}
	return next, nil
}

// list reads the followed range page by page, all at one revision. Compacted: the list took longer than etcd keeps it.
func (c *Client) list(ctx context.Context) (revision int64, all []change, err error) {
	key, end := followed()
	for {
		options := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(pageSize)}
		if revision != 0 {
			options = append(options, clientv3.WithRev(revision))
		}
		page, err := c.get(ctx, key, options...)
		if err != nil {
			return 0, nil, err
		}
		if revision == 0 {
			revision = page.Header.Revision
		}
		for _, kv := range page.Kvs {
			all = append(all, change{key: string(kv.Key), value: present(kv.Value), created: kv.CreateRevision})
		}
		if !page.More {
			return revision, all, nil
		}
		key = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}

// present tells an empty value from none.
func present(value []byte) []byte {
	if value == nil {
		return []byte{}
	}
	return value
}

// watch follows the changes after a state until something interrupts it.
func (c *Client) watch(ctx context.Context, s State, f Follower) (State, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	from, end := followed()
	responses := c.etcd.Watch(clientv3.WithRequireLeader(ctx), from, clientv3.WithRange(end), clientv3.WithRev(s.Revision+1),
		clientv3.WithProgressNotify(), clientv3.WithCreatedNotify(), clientv3.WithFragment())
	for response := range responses {
		if err := watchError(response); err != nil {
			return s, err
		}
		if response.Created {
			f.Disturbed(nil)
			continue
		}
		revision, changes, broken := batch(responses, response)
		next, changed := s.apply(max(revision, s.Revision), changes)
		if len(changed) > 0 {
			f.Update(next, changed)
		}
		s = next
		if broken != nil {
			return s, broken
		}
	}
	return s, agentapi.ErrUnavailable
}

func watchError(r clientv3.WatchResponse) error {
	err := r.Err()
	if errors.Is(err, rpctypes.ErrNoLeader) {
		return errors.Join(agentapi.ErrUnavailable, errLeaderLost)
	}
	return err
}

// batch takes along what comes shortly after a response: hosts often start together, and a reconciliation costs the same
// for one change as for many. A response of progress alone is not waited with.
func batch(responses clientv3.WatchChan, first clientv3.WatchResponse) (revision int64, changes []change, broken error) {
	revision, changes = reached(first), changesOf(first)
	if len(changes) == 0 {
		return revision, nil, nil
	}
	deadline := time.After(batchMax)
	for {
		select {
		case response, open := <-responses:
			if !open {
				return revision, changes, nil
			}
			if err := watchError(response); err != nil {
				return revision, changes, err
			}
			revision, changes = max(revision, reached(response)), append(changes, changesOf(response)...)
		case <-time.After(batchQuiet):
			return revision, changes, nil
		case <-deadline:
			return revision, changes, nil
		}
	}
}

// reached is the revision up to which a response makes the state complete. The header's may be ahead of the events: etcd
// sends a watcher that is late its changes in parts.
func reached(r clientv3.WatchResponse) int64 {
	if len(r.Events) > 0 {
		return r.Events[len(r.Events)-1].Kv.ModRevision
	}
	if r.IsProgressNotify() {
		return r.Header.Revision
	}
	return 0
}

func changesOf(r clientv3.WatchResponse) []change {
	changes := make([]change, 0, len(r.Events))
	for _, e := range r.Events {
		ch := change{key: string(e.Kv.Key), created: e.Kv.CreateRevision}
		if e.Type == clientv3.EventTypePut {
			ch.value = present(e.Kv.Value)
		}
		changes = append(changes, ch)
	}
	return changes
}
