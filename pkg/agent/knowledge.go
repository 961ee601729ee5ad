package agent

import (
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairway-cni/fairway/pkg/registry"
)

// knowledge is what the sources have reported. It may be used by several goroutines.
type knowledge struct {
	mu        sync.Mutex
	snapshots map[string]snapshot       // as on disk
	blocks    map[string][]netip.Prefix // that this host has had, by network
	read      *registry.State           // nil until etcd has been read for the first time
	alive     bool                      // our sign of life has been in etcd, and no other machine's since
	address   netip.Addr                // on the underlay; zero: none yet
	link      string                    // that has the address; empty: none yet
	reserved  map[string][]netip.Addr   // addresses of containers, by network
	follows   bool                      // the watch goes on
	linked    bool                      // a member of etcd is connected
	since     time.Time                 // when follows && linked became what it is
	problems  map[string]error          // by what they are about
	passed    chan struct{}             // closed after each local pass, and replaced
}

func newKnowledge() *knowledge {
	return &knowledge{
		snapshots: make(map[string]snapshot), reserved: make(map[string][]netip.Addr), blocks: make(map[string][]netip.Prefix), since: time.Now(),
		problems: make(map[string]error), passed: make(chan struct{}),
	}
}

// with runs f under the lock.
func (k *knowledge) with(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

// remember takes what was on disk. Of several addresses on the underlay, the one that peers know stays.
func (k *knowledge) remember(all map[string]snapshot) {
	k.with(func() {
		k.snapshots = all
		for name, snap := range all {
			k.blocks[name] = snap.own().Blocks
			k.address = snap.hosts.Self
		}
	})
}

// had gives the blocks that this host has had of a network and does not own now, and remembers those that it owns.
func (k *knowledge) had(network string, own []netip.Prefix) (missing []netip.Prefix) {
	k.with(func() {
		for _, block := range k.blocks[network] {
			if !slices.Contains(own, block) {
				missing = append(missing, block)
			}
		}
		k.blocks[network] = append(slices.Clone(own), missing...)
	})
	return missing
}

// lost forgets a block that this host has had.
func (k *knowledge) lost(network string, block netip.Prefix) {
	k.with(func() {
		k.blocks[network] = slices.DeleteFunc(k.blocks[network], func(b netip.Prefix) bool { return b == block })
	})
}

// remembered are the snapshots as on disk.
func (k *knowledge) remembered() (all map[string]snapshot) {
	k.with(func() { all = maps.Clone(k.snapshots) })
	return all
}

func (k *knowledge) setSnapshot(s snapshot)        { k.with(func() { k.snapshots[s.definition.Name] = s }) }
func (k *knowledge) setState(s registry.State)     { k.with(func() { k.read = &s }) }
func (k *knowledge) underlayLink() (name string)   { k.with(func() { name = k.link }); return name }
func (k *knowledge) vtep() (addr netip.Addr)       { k.with(func() { addr = k.address }); return addr }
func (k *knowledge) setFollows(is bool)            { k.setConnection(func() { k.follows = is }) }
func (k *knowledge) setLinked(is bool)             { k.setConnection(func() { k.linked = is }) }
func (k *knowledge) passes() (c <-chan struct{})   { k.with(func() { c = k.passed }); return c }
func (k *knowledge) connected() (is bool)          { k.with(func() { is = k.follows && k.linked }); return is }
func (k *knowledge) connectedSince() (t time.Time) { k.with(func() { t = k.since }); return t }

// forget drops what there was of a network that is gone.
func (k *knowledge) forget(name string) {
	k.with(func() {
		delete(k.snapshots, name)
		delete(k.blocks, name)
		delete(k.reserved, name)
	})
}

func (k *knowledge) setConnection(change func()) {
	k.with(func() {
		before := k.follows && k.linked
		change()
		if before != (k.follows && k.linked) {
			k.since = time.Now()
		}
	})
}

func (k *knowledge) setAlive(is bool) (changed bool) {
	k.with(func() { changed, k.alive = is != k.alive, is })
	return changed
}

// state is what the registry holds. Until this host's own sign of life is there, another one of its name may own what it
// says, and ok is false.
func (k *knowledge) state() (s registry.State, ok bool) {
	k.with(func() {
		if ok = k.read != nil && k.alive; ok {
			s = *k.read
		}
	})
	return s, ok
}

// revision is the last that was seen of etcd.
func (k *knowledge) revision() (r int64) {
	k.with(func() {
		if k.read != nil {
			r = k.read.Revision
		}
	})
	return r
}

// networks are the names of all networks, sorted.
func (k *knowledge) networks() []string {
	var names []string
	if s, ok := k.state(); ok {
		for name, n := range s.Networks {
			if _, kept := k.remembered()[name]; n.Readable() || !n.Absent() && kept {
				names = append(names, name)
			}
		}
	} else {
		names = slices.Collect(maps.Keys(k.remembered()))
	}
	slices.Sort(names)
	return names
}

// anywhere are the names of all networks, and of those that are gone but for what this host has of them.
func (k *knowledge) anywhere() []string {
	names := append(k.networks(), slices.Collect(maps.Keys(k.remembered()))...)
	slices.Sort(names)
	return slices.Compact(names)
}

func (k *knowledge) setReserved(network string, addrs []netip.Addr) (changed bool) {
	k.with(func() {
		changed = !slices.Equal(k.reserved[network], addrs)
		k.reserved[network] = addrs
	})
	return changed
}

func (k *knowledge) reservedIn(network string) (addrs []netip.Addr) {
	k.with(func() { addrs = k.reserved[network] })
	return addrs
}

// note keeps what is wrong with something, or that nothing is, and logs it when that is news.
func (k *knowledge) note(about string, err error) {
	var before error
	k.with(func() {
		before = k.problems[about]
		delete(k.problems, about)
		if err != nil {
			k.problems[about] = err
		}
	})
	switch {
	case err == nil && before != nil:
		slog.Info("well again", "about", about)
	case err != nil && (before == nil || before.Error() != err.Error()):
		slog.Error("problem", "about", about, "error", err)
	}
}

// noteOnly drops problems of networks, of one kind, but for those of the given networks: what is gone has none.
func (k *knowledge) noteOnly(kind func(network string) string, networks []string) {
	k.with(func() {
		maps.DeleteFunc(k.problems, func(about string, _ error) bool {
			name, ofKind := strings.CutPrefix(about, kind(""))
			return ofKind && !slices.Contains(networks, name)
		})
	})
}

// problem is what is wrong with something.
func (k *knowledge) problem(about string) (err error) {
	k.with(func() { err = k.problems[about] })
	return err
}

// sentences are all problems, sorted.
func (k *knowledge) sentences() []string {
	var list []string
	k.with(func() {
		for about, err := range k.problems {
			list = append(list, about+": "+oneLine(err))
		}
	})
	slices.Sort(list)
	return list
}

// endPass wakes who waits for a local pass.
func (k *knowledge) endPass() {
	k.with(func() {
		close(k.passed)
		k.passed = make(chan struct{})
	})
}

var errDeleted = errors.New("deleted while containers are attached: it goes with the last one")
