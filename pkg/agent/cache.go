package agent

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/fairway-cni/fairway/pkg/registry"
)

// cache is what the sources have reported, and what this host has done. It may be used by several goroutines.
type cache struct {
	mu        sync.Mutex
	snapshots map[string]snapshot       // of networks, as this host has them
	blocks    map[string][]netip.Prefix // that this host has had, by network
	read      *registry.State           // nil until etcd has been read for the first time
	hold      time.Duration             // of the cluster, 0: not known yet
	beating   heartbeat
	lapsed    bool                    // others may have taken this host's blocks: it was not seen for long
	underlay  underlay                // the zero value: none yet
	reserved  map[string][]netip.Addr // addresses of containers, by network
	active    map[string]time.Time    // when a network was last asked for or had a container
	draining  map[string]map[netip.Prefix]time.Time
	documents map[string]document // of the plugin, as they were written, by network
	joined    map[string]bool     // networks that this host is, or becomes, a member of
	settled   time.Time           // until when what the store has lost is kept
	unsettled bool                // and this host has not yet claimed again what it had
	before    map[string]snapshot // when the store went back
	lost      map[string]bool     // networks that the store has lost, and this host has
	follows   bool                // the watches stand
	linked    bool                // a member of etcd is connected
	since     time.Time           // when follows && linked became what it is
	passed    chan struct{}       // closed after each pass, and replaced
	local     changes
	remote    changes
}

// heartbeat is what is known of this host's own.
type heartbeat struct {
	lease     int64 // 0: it is not in etcd
	confirmed time.Time
	err       error
}

// document is what the plugin reads of a network: a snapshot, and the blocks in it that are offered. The snapshot is the zero value
// when an earlier run of the agent wrote it.
type document struct {
	snapshot
	offered []netip.Prefix
}

// changes are networks to look at.
type changes struct {
	all   bool
	names map[string]bool
}

func newCache() *cache {
	return &cache{
		snapshots: make(map[string]snapshot), reserved: make(map[string][]netip.Addr), blocks: make(map[string][]netip.Prefix), since: time.Now(),
		active: make(map[string]time.Time), draining: make(map[string]map[netip.Prefix]time.Time), documents: make(map[string]document),
		lost: make(map[string]bool), joined: make(map[string]bool),
		passed: make(chan struct{}),
	}
}

// with runs f under the lock.
func (c *cache) with(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// remember takes what was on disk. Of several addresses on the underlay, the one that peers know stays.
func (c *cache) remember(all map[string]snapshot) {
	c.with(func() {
		c.snapshots = all
		for name, snap := range all {
			own := snap.own().Blocks
			c.blocks[name] = slices.Clone(own)
			c.documents[name] = document{offered: slices.Clone(own)} // or less: what is withheld is withheld anew
			if snap.hosts.Self.IsValid() {
				c.underlay.address = snap.hosts.Self
			}
			if len(own) > 0 {
				c.active[name] = time.Now()
				c.joined[name] = true
			}
		}
	})
}

// had gives the blocks that this host has had of a network and does not own now, and remembers those that it owns.
func (c *cache) had(network string, own []netip.Prefix) (missing []netip.Prefix) {
	c.with(func() {
		for _, block := range c.blocks[network] {
			if !slices.Contains(own, block) {
				missing = append(missing, block)
			}
		}
		c.blocks[network] = append(slices.Clone(own), missing...)
	})
	return missing
}

// offers remembers blocks that the plugin is about to be offered: containers may have addresses of them from then on, whether or not
// this host has been able to write to the store since it claimed them.
func (c *cache) offers(network string, blocks []netip.Prefix) {
	c.with(func() {
		for _, block := range blocks {
			if !slices.Contains(c.blocks[network], block) {
				c.blocks[network] = append(slices.Clone(c.blocks[network]), block)
			}
		}
	})
}

// missing are the blocks that this host has had of a network and does not own now.
func (c *cache) missing(network string, own []netip.Prefix) (list []netip.Prefix) {
	c.with(func() {
		for _, block := range c.blocks[network] {
			if !slices.Contains(own, block) {
				list = append(list, block)
			}
		}
	})
	return list
}

// drop forgets blocks that this host has had.
func (c *cache) drop(network string, blocks ...netip.Prefix) {
	c.with(func() {
		c.blocks[network] = slices.DeleteFunc(c.blocks[network], func(b netip.Prefix) bool { return slices.Contains(blocks, b) })
		for _, block := range blocks {
			delete(c.draining[network], block)
		}
	})
}

// remembered are the snapshots.
func (c *cache) remembered() (all map[string]snapshot) {
	c.with(func() { all = maps.Clone(c.snapshots) })
	return all
}

// snapshot of one network.
func (c *cache) snapshot(name string) (snap snapshot, ok bool) {
	c.with(func() { snap, ok = c.snapshots[name] })
	return snap, ok
}

func (c *cache) setSnapshot(s snapshot)             { c.with(func() { c.snapshots[s.definition.Name] = s }) }
func (c *cache) place() (u underlay)                { c.with(func() { u = c.underlay }); return u }
func (c *cache) setLinked(is bool)                  { c.setConnection(func() { c.linked = is }) }
func (c *cache) passes() (p <-chan struct{})        { c.with(func() { p = c.passed }); return p }
func (c *cache) connected() (is bool)               { c.with(func() { is = c.follows && c.linked }); return is }
func (c *cache) connectedSince() (t time.Time)      { c.with(func() { t = c.since }); return t }
func (c *cache) beat() (h heartbeat)                { c.with(func() { h = c.beating }); return h }
func (c *cache) isLost(name string) (is bool)       { c.with(func() { is = c.lost[name] }); return is }
func (c *cache) activeAt(name string) (t time.Time) { c.with(func() { t = c.active[name] }); return t }

// forget drops what there was of a network that is gone.
func (c *cache) forget(name string) {
	c.with(func() {
		delete(c.snapshots, name)
		delete(c.blocks, name)
		delete(c.reserved, name)
		delete(c.active, name)
		delete(c.draining, name)
		delete(c.documents, name)
		delete(c.lost, name)
		delete(c.joined, name)
	})
}

// supersede drops what there was of a network in whose place there is another of the name.
func (c *cache) supersede(name string) {
	c.with(func() {
		delete(c.snapshots, name)
		delete(c.blocks, name)
		delete(c.draining, name)
	})
}

// setFollows notes whether the watches stand. A host that does not hear while the store settles does not know what others have claimed
// again: it settles anew when it does.
func (c *cache) setFollows(is bool) {
	c.setConnection(func() {
		c.follows = is
		c.unsettled = c.unsettled || !is && time.Now().Before(c.settled)
	})
}

func (c *cache) setConnection(change func()) {
	c.with(func() {
		before := c.follows && c.linked
		change()
		if before != (c.follows && c.linked) {
			c.since = time.Now()
		}
	})
}

// setState takes a new state.
func (c *cache) setState(s registry.State) {
	c.with(func() {
		c.read = &s
		if hold := time.Duration(s.Cluster.ReclaimAfter); hold > 0 {
			c.hold = hold
		}
	})
}

// state is what the registry holds. Until this host's own heartbeat is there, another one of its name may own what it
// says, and ok is false.
func (c *cache) state() (s registry.State, ok bool) {
	c.with(func() {
		if ok = c.read != nil && !c.beating.confirmed.IsZero() && !isTaken(c.beating.err); ok {
			s = *c.read
		}
	})
	return s, ok
}

// revision is the last that was seen of etcd.
func (c *cache) revision() (r int64) {
	c.with(func() {
		if c.read != nil {
			r = c.read.Revision
		}
	})
	return r
}

// networks are the names of all networks, sorted.
func (c *cache) networks() []string {
	remembered := c.remembered()
	s, ok := c.state()
	if !ok {
		return slices.Sorted(maps.Keys(remembered))
	}
	var names []string
	for name, n := range s.Networks {
		if _, kept := remembered[name]; n.Readable() || !n.Absent() && kept {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// anywhere are the names of all networks, and of those that are gone but for what this host has of them.
func (c *cache) anywhere() []string {
	names := append(c.networks(), slices.Collect(maps.Keys(c.remembered()))...)
	slices.Sort(names)
	return slices.Compact(names)
}

func (c *cache) setReserved(network string, addrs []netip.Addr) (changed bool) {
	c.with(func() {
		changed = !slices.Equal(c.reserved[network], addrs)
		c.reserved[network] = addrs
		if len(addrs) > 0 || changed {
			c.active[network] = time.Now()
		}
	})
	return changed
}

func (c *cache) reservedIn(network string) (addrs []netip.Addr) {
	c.with(func() { addrs = c.reserved[network] })
	return addrs
}

// touch notes that a network is asked for, and stops giving its blocks back.
func (c *cache) touch(network string) {
	c.with(func() {
		c.active[network] = time.Now()
		delete(c.draining, network)
	})
}

// wrote takes that the plugin's document is written. Of blocks that are being given back, the time begins when it is without them: a
// disk may be full for long.
func (c *cache) wrote(snap snapshot, offered []netip.Prefix) {
	name := snap.definition.Name
	c.with(func() {
		for block := range c.draining[name] {
			if slices.Contains(c.documents[name].offered, block) {
				c.draining[name][block] = time.Now()
			}
		}
		c.documents[name] = document{snap, slices.Clone(offered)}
	})
}

// document is the plugin's of a network.
func (c *cache) document(network string) (d document) {
	c.with(func() { d = c.documents[network] })
	return d
}

// drain begins to give blocks back: they are not offered to the plugin any more. It gives those that have been so for long enough.
func (c *cache) drain(network string, blocks []netip.Prefix, patience time.Duration) (over []netip.Prefix, changed bool) {
	c.with(func() {
		before := c.draining[network]
		now := make(map[netip.Prefix]time.Time, len(blocks))
		for _, block := range blocks {
			since, is := before[block]
			if !is {
				since, changed = time.Now(), true
			}
			now[block] = since
			if time.Since(since) >= patience && !slices.Contains(c.documents[network].offered, block) {
				over = append(over, block)
			}
		}
		changed = changed || len(now) != len(before)
		if len(now) == 0 {
			delete(c.draining, network)
		} else {
			c.draining[network] = now
		}
	})
	return over, changed
}

// offered are blocks without those that are being given back.
func (c *cache) offered(network string, blocks []netip.Prefix) (list []netip.Prefix) {
	c.with(func() {
		for _, block := range blocks {
			if _, is := c.draining[network][block]; !is {
				list = append(list, block)
			}
		}
	})
	return list
}

// setJoined notes whether this host is a member of a network, and gives all of which it is.
func (c *cache) setJoined(name string, is bool) (all []string) {
	c.with(func() {
		delete(c.joined, name)
		if is {
			c.joined[name] = true
		}
		all = slices.Sorted(maps.Keys(c.joined))
	})
	return all
}

func (c *cache) joinedNetworks() (all []string) {
	c.with(func() { all = slices.Sorted(maps.Keys(c.joined)) })
	return all
}

func (c *cache) isJoined(name string) (is bool) { c.with(func() { is = c.joined[name] }); return is }

// mark asks for networks to be looked at, or for all with none named.
func (c *cache) mark(which *changes, names ...string) {
	c.with(func() {
		if len(names) == 0 {
			which.all = true
		}
		if which.names == nil {
			which.names = make(map[string]bool)
		}
		for _, name := range names {
			which.names[name] = true
		}
	})
}

// markAll marks again what was taken.
func (c *cache) markAll(which *changes, taken changes) {
	if taken.all {
		c.mark(which)
	}
	if len(taken.names) > 0 {
		c.mark(which, slices.Collect(maps.Keys(taken.names))...)
	}
}

// take gives what was marked, and unmarks it.
func (c *cache) take(which *changes) (taken changes) {
	c.with(func() { taken, *which = *which, changes{} })
	return taken
}

// has says whether a network is to be looked at.
func (c changes) has(name string) bool { return c.all || c.names[name] }

// endPass wakes who waits for a pass.
func (c *cache) endPass() {
	c.with(func() {
		close(c.passed)
		c.passed = make(chan struct{})
	})
}
