// Package etcdsim is an etcd in memory for tests: revisions, transactions, watches and leases as etcd has them, and what goes
// wrong with it at a word. In a bubble of testing/synctest, its time is the bubble's.
package etcdsim

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairway-cni/fairway/pkg/etcd"
)

// Sim is one store. Its functions may be called by several goroutines.
type Sim struct {
	mu       sync.Mutex
	data     data
	down     bool
	noSpace  bool
	clusters uint64
	granted  int64 // leases, in all stores: no ID comes twice
	watchers map[*watcher]bool
	unheard  int64 // the revision of which no watcher hears, 0 for none
	restored int64 // the revision of the backup that was restored last
}

// data is what a backup holds.
type data struct {
	cluster   uint64
	revision  int64
	compacted int64
	keys      map[string]entry
	history   []etcd.Change
	leases    map[int64]lease
}

type entry struct {
	etcd.KV
	lease int64
}

type lease struct {
	ttl  time.Duration
	ends time.Time
}

// New makes an empty store.
func New() *Sim {
	s := &Sim{watchers: make(map[*watcher]bool)}
	s.data = s.empty()
	return s
}

func (s *Sim) empty() data {
	s.clusters++
	return data{cluster: s.clusters, revision: 1, keys: make(map[string]entry), leases: make(map[int64]lease)}
}

// Backup is a copy of a store.
type Backup struct{ data data }

func (d data) clone() data {
	d.keys, d.leases, d.history = maps.Clone(d.keys), maps.Clone(d.leases), slices.Clone(d.history)
	return d
}

// Backup copies the store.
func (s *Sim) Backup() Backup {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Backup{s.data.clone()}
}

// Restore makes the store what a backup holds, under the same cluster ID, as it is with the same names and token. Leases begin
// anew, as etcd's do.
func (s *Sim) Restore(b Backup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data = b.data.clone()
	s.restored = b.data.revision
	s.prolong()
	s.disconnect(func(*watcher) bool { return true })
}

// Wipe makes the store an empty one of another cluster.
func (s *Sim) Wipe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data, s.restored = s.empty(), 0
	s.disconnect(func(*watcher) bool { return true })
}

// prolong has all leases begin anew.
func (s *Sim) prolong() {
	for id, l := range s.data.leases {
		l.ends = time.Now().Add(l.ttl)
		s.data.leases[id] = l
	}
}

// SetDown stops the store, or starts it on the data that it has. Leases begin anew then, as they do with a leader of etcd.
func (s *Sim) SetDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case down && !s.down:
		s.expire()
		s.disconnect(func(*watcher) bool { return true })
	case s.down && !down:
		s.prolong()
	}
	s.down = down
}

// SetNoSpace has the store refuse whatever grows it, under an alarm.
func (s *Sim) SetNoSpace(is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noSpace = is
}

// Compact forgets all revisions but the last.
func (s *Sim) Compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data.compacted = s.data.revision
}

// Put writes a key as a person does.
func (s *Sim) Put(key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write([]etcd.Op{etcd.Set(key, value)})
}

// Unheard writes a key of which no watcher ever hears: an event that is lost.
func (s *Sim) Unheard(key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write([]etcd.Op{etcd.Set(key, value)})
	s.unheard = s.data.revision
}

// Delete deletes a key as a person does.
func (s *Sim) Delete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write([]etcd.Op{etcd.Remove(key)})
}

// Keys are all keys with a prefix, and their values.
func (s *Sim) Keys(prefix string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	all := make(map[string]string)
	for key, e := range s.data.keys {
		if strings.HasPrefix(key, prefix) {
			all[key] = e.Value
		}
	}
	return all
}

// Restored says whether a key is as the backup had it that was restored last.
func (s *Sim) Restored(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data.keys[key].Modified <= s.restored
}

func (s *Sim) header() etcd.Header {
	return etcd.Header{Cluster: s.data.cluster, Revision: s.data.revision}
}

// expire deletes what went with leases that are over.
func (s *Sim) expire() {
	now := time.Now()
	for _, id := range slices.Sorted(maps.Keys(s.data.leases)) {
		if !now.Before(s.data.leases[id].ends) {
			s.revoke(id)
		}
	}
}

func (s *Sim) revoke(id int64) {
	delete(s.data.leases, id)
	var gone []etcd.Op
	for _, key := range slices.Sorted(maps.Keys(s.data.keys)) {
		if s.data.keys[key].lease == id {
			gone = append(gone, etcd.Remove(key))
		}
	}
	s.write(gone)
}

// within are the keys of a range, sorted.
func (s *Sim) within(key, end string) []string {
	if end == "" {
		if _, ok := s.data.keys[key]; ok {
			return []string{key}
		}
		return nil
	}
	var all []string
	for k := range s.data.keys {
		if k >= key && k < end {
			all = append(all, k)
		}
	}
	slices.Sort(all)
	return all
}

// write does the operations of one transaction, at one revision if any changes something.
func (s *Sim) write(ops []etcd.Op) []etcd.Page {
	revision, changed := s.data.revision+1, []etcd.Change(nil)
	pages := make([]etcd.Page, len(ops))
	for i, op := range ops {
		switch op.Do {
		case etcd.Get:
			for _, key := range s.within(op.Key, op.End) {
				kv := s.data.keys[key].KV
				if op.KeysOnly {
					kv.Value = ""
				}
				pages[i].KVs = append(pages[i].KVs, kv)
			}
		case etcd.Put:
			before, there := s.data.keys[op.Key]
			kv := etcd.KV{Key: op.Key, Value: op.Value, Created: revision, Modified: revision}
			if there {
				kv.Created = before.Created
			}
			s.data.keys[op.Key] = entry{kv, op.Lease}
			changed = append(changed, etcd.Change{KV: kv})
		case etcd.Delete:
			for _, key := range s.within(op.Key, op.End) {
				delete(s.data.keys, key)
				changed = append(changed, etcd.Change{KV: etcd.KV{Key: key, Modified: revision}, Deleted: true})
			}
		}
	}
	if len(changed) > 0 {
		s.data.revision = revision
		s.data.history = append(s.data.history, changed...)
		for w := range s.watchers {
			w.wake()
		}
	}
	return pages
}

// holds says whether a condition does.
func (s *Sim) holds(c etcd.Condition) bool {
	keys := s.within(c.Key, c.End)
	if len(keys) == 0 {
		return c.Subject != etcd.Value && compare(0, c)
	}
	for _, key := range keys {
		kv := s.data.keys[key]
		switch c.Subject {
		case etcd.Value:
			if kv.Value != c.Value {
				return false
			}
		case etcd.Created:
			if !compare(kv.Created, c) {
				return false
			}
		case etcd.Modified:
			if !compare(kv.Modified, c) {
				return false
			}
		}
	}
	return true
}

func compare(revision int64, c etcd.Condition) bool {
	if c.Below {
		return revision < c.Revision
	}
	return revision == c.Revision
}

// at is the keys of a range as they were at a revision.
func (s *Sim) at(r etcd.Range) []etcd.KV {
	keys := make(map[string]etcd.KV)
	for _, ch := range s.data.history {
		if ch.Modified > r.Revision {
			break
		}
		if ch.Key != r.Key && (r.End == "" || ch.Key < r.Key || ch.Key >= r.End) {
			continue
		}
		delete(keys, ch.Key)
		if !ch.Deleted {
			keys[ch.Key] = ch.KV
		}
	}
	var all []etcd.KV
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		all = append(all, keys[key])
	}
	return all
}
