package registry

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/fairway-cni/fairway/pkg/etcd"
)

// Follower is told what the registry holds. Its functions are called one at a time.
type Follower interface {
	// Update is called with the first complete state, and with each later one that differs.
	Update(s State, changed Changed)
	// Remember is called when the memory of the store has changed. wentBack is ErrWentBack with the reason when the store is not
	// what it was; the state that comes next is then read anew.
	Remember(m Memory, wentBack error)
	// Disturbed is called with each error that interrupts the following, and with nil when it goes on.
	Disturbed(err error)
}

const (
	// A batch ends when nothing came for batchQuiet, or after batchMax.
	batchQuiet = 10 * time.Millisecond
	batchMax   = 50 * time.Millisecond
	// The store is compared with the memory each recogniseEvery, and read as a whole about each relistEvery: nothing else would
	// find that an event was lost.
	recogniseEvery = time.Minute
	relistEvery    = 4 * time.Hour
)

// feed is one range of keys that is followed.
type feed struct {
	network string // whose members'; empty: a range of all
	keys    etcd.Range
}

// everywhere are the feeds of every host.
func everywhere() []feed {
	return []feed{{keys: etcd.Range{Key: clusterKey}}, {keys: etcd.Prefix(networks)}, {keys: etcd.Prefix(nodes)}}
}

// news is what a feed's reader has to tell.
type news struct {
	feed     feed
	listed   bool // list is complete, at revision
	list     []etcd.KV
	revision int64
	changes  []etcd.Change
	stands   bool // the watch does
	err      error
}

// Following is a host's view of the registry.
type Following struct {
	client   *Client
	follower Follower
	defaults func() Defaults
	memory   Memory
	state    State
	joined   chan []string
	networks []string        // that are followed as members do
	at       map[feed]int64  // up to which a feed is known; absent: it has to be listed
	readers  map[feed]func() // end a reader
	standing map[feed]bool   // its watch stands
	pending  []news          // of a batch
	first    bool            // all feeds of every host were complete once
	news     chan news       // of the session
	session  context.Context // ends with the first error
}

// NewFollowing prepares to follow a store that the host may know. defaults is asked when there is no cluster yet.
func (c *Client) NewFollowing(f Follower, m Memory, defaults func() Defaults) *Following {
	return &Following{client: c, follower: f, defaults: defaults, memory: m, joined: make(chan []string, 1), at: make(map[feed]int64)}
}

// Join sets the networks that are followed as their members do.
func (f *Following) Join(networks []string) {
	for {
		select {
		case f.joined <- networks:
			return
		case <-f.joined: // which nobody has read
		}
	}
}

// Run reads everything and then every change, until the context ends. It survives etcd's absence, and changes that it
// missed while it was away, however long: when etcd has compacted them, it reads everything again and compares by value.
func (f *Following) Run(ctx context.Context) {
	var pause backoff
	for ctx.Err() == nil {
		err := f.recognise(ctx)
		if err == nil {
			err = f.serve(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			f.follower.Disturbed(err)
			pause.wait(ctx)
		}
	}
}

// recognise compares the store with the memory. One that went back is read anew.
func (f *Following) recognise(ctx context.Context) error {
	memory, err := f.client.recognise(ctx, f.memory, f.defaults())
	wentBack := errors.Is(err, ErrWentBack)
	if err != nil && !wentBack {
		return err
	}
	if wentBack { // nothing that was seen is believed
		clear(f.at)
		f.state, f.first = State{}, false
	}
	if memory != f.memory {
		f.memory = memory
		f.follower.Remember(memory, err)
	}
	return nil
}

// serve follows all feeds until something interrupts it. Nil: it is only to begin anew.
func (f *Following) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f.session, f.news = ctx, make(chan news)
	f.readers, f.standing, f.pending = make(map[feed]func()), make(map[feed]bool), nil
	for _, feed := range everywhere() {
		f.open(feed)
	}
	for _, name := range f.networks {
		f.open(memberFeed(name))
	}
	again := time.NewTimer(recogniseEvery)
	defer again.Stop()
	relist := time.NewTimer(relistEvery/2 + rand.N(relistEvery))
	defer relist.Stop()
	var quiet, deadline <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case names := <-f.joined:
			f.member(names)
		case n := <-f.news:
			if err := f.take(n); err != nil {
				return err
			}
			if deadline == nil && len(f.pending) > 0 {
				deadline = time.After(batchMax)
			}
			if len(f.pending) > 0 {
				quiet = time.After(batchQuiet)
			}
		case <-quiet:
			quiet, deadline = nil, nil
			f.flush()
		case <-deadline:
			quiet, deadline = nil, nil
			f.flush()
		case <-again.C:
			f.flush()
			epoch := f.memory.Epoch
			if err := f.recognise(ctx); err != nil {
				return err
			}
			if f.memory.Epoch != epoch {
				return nil
			}
			again.Reset(recogniseEvery)
		case <-relist.C:
			f.flush()
			clear(f.at)
			return nil
		}
		if f.state.Cluster.ID != "" && f.state.Cluster.Epoch != f.memory.Epoch {
			return nil // another host has found out that the store went back
		}
	}
}

// take takes what a feed tells.
func (f *Following) take(n news) error {
	_, open := f.readers[n.feed]
	switch {
	case !open: // it was left
	case n.err != nil:
		f.flush()
		return f.interrupted(n)
	case n.stands:
		f.stands(n.feed)
	default:
		f.pending = append(f.pending, n)
	}
	return nil
}

// interrupted says how to go on after a feed has ended. What one feed has missed, the others may have missed as well: everything
// is read anew at once, and not one feed after each further interruption.
func (f *Following) interrupted(n news) error {
	if errors.Is(n.err, etcd.ErrCompacted) || errors.Is(n.err, etcd.ErrFuture) {
		clear(f.at)
	}
	return n.err
}

func memberFeed(network string) feed { return feed{network, membership(network)} }

// member begins to follow networks, and leaves others.
func (f *Following) member(names []string) {
	u := f.state.begin()
	for _, name := range f.networks {
		if slices.Contains(names, name) {
			continue
		}
		left := memberFeed(name)
		f.readers[left]()
		delete(f.readers, left)
		delete(f.standing, left)
		delete(f.at, left)
		f.pending = slices.DeleteFunc(f.pending, func(n news) bool { return n.feed == left })
		u.clear(left)
		u.network(name).Followed = false
	}
	for _, name := range names {
		if !slices.Contains(f.networks, name) {
			f.open(memberFeed(name))
		}
	}
	f.networks = slices.Clone(names)
	f.settle(u)
}

// open starts to read a feed.
func (f *Following) open(of feed) {
	ctx, cancel := context.WithCancel(f.session)
	f.readers[of] = cancel
	go f.client.read(ctx, of, f.at[of], f.news)
}

// read tells a feed: the whole of it unless it is known up to a revision, and every change.
func (c *Client) read(ctx context.Context, of feed, revision int64, to chan<- news) {
	tell := func(n news) bool {
		n.feed = of
		select {
		case to <- n:
			return true
		case <-ctx.Done():
			return false
		}
	}
	if revision == 0 {
		at, list, err := c.list(ctx, of.keys)
		if err != nil {
			tell(news{err: err})
			return
		}
		revision = at
		if !tell(news{listed: true, list: list, revision: at}) {
			return
		}
	}
	keys := of.keys
	keys.Revision = revision + 1
	for event := range c.store.Watch(ctx, keys) {
		n := news{changes: event.Changes, err: event.Err, stands: event.Err == nil && len(event.Changes) == 0}
		if event.Err == nil && event.Revision < revision {
			n.err = etcd.ErrFuture // it went back
		}
		if !tell(n) || n.err != nil {
			return
		}
	}
}

// stands notes that a watch does; when all do, nothing is disturbed any more.
func (f *Following) stands(of feed) {
	if f.standing[of] {
		return
	}
	f.standing[of] = true
	for other := range f.readers {
		if !f.standing[other] {
			return
		}
	}
	f.follower.Disturbed(nil)
}

// flush applies a batch: hosts often start together, and a reconciliation costs the same for one change as for many.
func (f *Following) flush() {
	if len(f.pending) == 0 {
		return
	}
	u, memory := f.state.begin(), f.memory
	for _, n := range f.pending {
		if n.listed {
			u.clear(n.feed)
			if n.feed.network != "" {
				u.network(n.feed.network).Followed = true
			}
			f.at[n.feed] = n.revision
			memory.Revision = max(memory.Revision, n.revision)
		}
		for _, kv := range n.list {
			u.set(etcd.Change{KV: kv})
			memory.see(kv, false)
		}
		for _, ch := range n.changes {
			u.set(ch)
			memory.see(ch.KV, ch.Deleted)
			f.at[n.feed] = max(f.at[n.feed], ch.Modified)
		}
	}
	f.pending = nil
	if memory != f.memory {
		f.memory = memory
		f.follower.Remember(memory, nil)
	}
	f.settle(u)
}

// settle makes an update the state.
func (f *Following) settle(u *update) {
	next, changed := u.end()
	f.state = next
	first := !f.first
	if first {
		for _, feed := range everywhere() {
			if f.at[feed] == 0 {
				return // not complete yet
			}
		}
		f.first = true
		for name := range next.Networks {
			changed.Networks, changed.Names = append(changed.Networks, name), append(changed.Names, name)
		}
		slices.Sort(changed.Networks)
		changed.Networks = slices.Compact(changed.Networks)
		slices.Sort(changed.Names)
		changed.Names = slices.Compact(changed.Names)
	}
	if first || changed.any() {
		f.follower.Update(next, changed)
	}
}
