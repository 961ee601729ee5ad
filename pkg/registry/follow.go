package registry

import (
	"cmp"
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
	// The store is read as a whole about each relistEvery: nothing else would find that an event was lost.
	relistEvery = 4 * time.Hour
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
	progress int64 // up to which revision nothing else has happened; 0: not said
	stands   bool  // the watch does
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
	at       map[feed]int64  // from which a feed may be resumed: never after the mark, as etcd may go back; 0: it has to be listed
	listed   map[feed]bool   // since the store is this one
	reached  map[feed]int64  // progress of the watch
	pulsed   time.Time       // when the pulse that is remembered was seen first
	readers  map[feed]func() // end a reader
	standing map[feed]bool   // its watch stands
	pending  []news          // of a batch
	first    bool            // all feeds of every host were complete once
	news     chan news       // of the session
	session  context.Context // ends with the first error
}

// NewFollowing prepares to follow a store that this host may know. defaults is asked when there is no cluster yet.
func (c *Client) NewFollowing(f Follower, m Memory, defaults func() Defaults) *Following {
	return &Following{
		client: c, follower: f, defaults: defaults, memory: m, joined: make(chan []string, 1),
		at: make(map[feed]int64), listed: make(map[feed]bool),
	}
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

// errAnew ends a session without anything that is wrong.
var errAnew = errors.New("everything is to be read anew")

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
		if err != nil && !errors.Is(err, errAnew) {
			f.follower.Disturbed(err)
			pause.wait(ctx)
		}
	}
}

// recognise compares the store with the memory. One that went back is read anew.
func (f *Following) recognise(ctx context.Context) error {
	before := f.memory.Pulse
	memory, err := f.client.recognise(ctx, f.memory, f.defaults())
	if memory.Pulse != before {
		f.pulsed = time.Now()
	}
	wentBack := errors.Is(err, ErrWentBack)
	if err != nil && !wentBack {
		if memory != f.memory { // it went back, and others cannot be told yet
			f.memory = memory
			f.follower.Remember(memory, nil)
		}
		return err
	}
	if wentBack { // nothing that was seen is believed
		clear(f.at)
		clear(f.listed)
		f.state, f.first, f.pending = State{}, false, nil
	}
	if memory != f.memory {
		f.memory = memory
		f.follower.Remember(memory, err)
	}
	f.state.turned = memory.Turned
	return nil
}

// pulse adds to the store's pulse when nobody else has for a while. A store that cannot be written has none.
func (f *Following) pulse(ctx context.Context) {
	if time.Since(f.pulsed) < pulseEvery {
		return
	}
	seen, err := f.client.look(ctx)
	if err != nil || seen.pulse.last() != f.memory.Pulse {
		return // it is taken in when the store is recognised
	}
	now, done, err := f.client.beatPulse(ctx, seen.pulse)
	if err != nil || !done {
		return
	}
	f.memory.seePulse(now)
	f.pulsed = time.Now()
	f.follower.Remember(f.memory, nil)
}

// recogniseAgain compares the store with the memory during a session. errAnew: it went back.
func (f *Following) recogniseAgain() error {
	epoch := f.memory.Epoch
	if err := f.recognise(f.session); err != nil {
		return err
	}
	if f.memory.Epoch != epoch {
		return errAnew
	}
	return nil
}

// serve follows all feeds until something interrupts it.
func (f *Following) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f.session, f.news = ctx, make(chan news)
	f.readers, f.standing, f.reached = make(map[feed]func()), make(map[feed]bool), make(map[feed]int64)
	f.apply() // what was read before an interruption, of a store that has just been recognised
	for _, feed := range everywhere() {
		f.open(feed)
	}
	for _, name := range f.networks {
		f.open(memberFeed(name))
	}
	again := time.NewTimer(pulseEvery)
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
			if err := f.flush(); err != nil {
				return err
			}
		case <-deadline:
			quiet, deadline = nil, nil
			if err := f.flush(); err != nil {
				return err
			}
		case <-again.C:
			if err := cmp.Or(f.flush(), f.recogniseAgain()); err != nil {
				return err
			}
			f.pulse(ctx)
			again.Reset(pulseEvery)
		case <-relist.C:
			err := f.flush()
			clear(f.at)
			return cmp.Or(err, errAnew)
		}
		if f.state.Cluster.ID != "" && f.state.Cluster.Epoch != f.memory.Epoch {
			return errAnew // another host has found out that the store went back
		}
	}
}

// take takes what a feed tells.
func (f *Following) take(n news) error {
	_, open := f.readers[n.feed]
	switch {
	case !open: // it was left
	case n.err != nil:
		err := f.flush()
		return cmp.Or(err, f.interrupted(n))
	case n.stands:
		f.stands(n.feed)
	case n.progress > 0:
		f.progress(n)
	default:
		f.pending = append(f.pending, n)
	}
	return nil
}

// progress notes up to where a feed is known. What the last one said counts: an etcd before 3.4.25 and 3.5.8 may say so before it has
// sent what came earlier (etcd#15220).
func (f *Following) progress(n news) {
	f.known(n.feed, f.reached[n.feed])
	f.reached[n.feed] = n.progress
}

// known takes that a feed is known up to a revision.
func (f *Following) known(of feed, revision int64) {
	f.at[of] = max(f.at[of], min(revision, f.memory.MarkRevision))
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
		delete(f.listed, left)
		delete(f.reached, left)
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
	f.undisturbed() // what did not stand may have been left
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
		n := news{changes: event.Changes, err: event.Err, stands: event.Err == nil && len(event.Changes) == 0 && !event.Progress}
		if event.Progress {
			n.progress = event.Revision
		}
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
	f.undisturbed()
}

// undisturbed reports that all watches stand, when they do.
func (f *Following) undisturbed() {
	for other := range f.readers {
		if !f.standing[other] {
			return
		}
	}
	f.follower.Disturbed(nil)
}

// flush applies a batch: hosts often start together, and a reconciliation costs the same for one change as for many. What was listed is
// believed when the store is still the same afterwards: it may have been emptied since it was recognised, and a list has nothing
// to show that.
func (f *Following) flush() error {
	if len(f.pending) == 0 {
		return nil
	}
	if slices.ContainsFunc(f.pending, func(n news) bool { return n.listed }) {
		if err := f.recogniseAgain(); err != nil {
			return err
		}
	}
	f.apply()
	return nil
}

// apply makes the batch part of the state.
func (f *Following) apply() {
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
			f.listed[n.feed] = true
			memory.Revision = max(memory.Revision, n.revision)
		}
		for _, kv := range n.list {
			u.set(etcd.Change{KV: kv})
			memory.see(kv, false)
		}
		for _, ch := range n.changes {
			u.set(ch)
			memory.see(ch.KV, ch.Deleted)
		}
	}
	changed := memory != f.memory
	f.memory = memory
	for _, n := range f.pending {
		if n.listed {
			f.at[n.feed] = 0 // what was known before may be of another store
			f.known(n.feed, n.revision)
		}
		for _, ch := range n.changes {
			f.known(n.feed, ch.Modified)
		}
	}
	f.pending = nil
	if changed {
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
			if !f.listed[feed] {
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
