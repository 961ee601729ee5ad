package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairway-cni/fairway/pkg/etcd"
	"github.com/fairway-cni/fairway/pkg/etcd/etcdsim"
)

func TestFollowSeesEveryChange(t *testing.T) {
	sim, c := newStore(t)
	alive(t, sim, "a")
	r := follow(t, c, Memory{}, "blue")
	r.await(t, "the first state, of an empty registry", func(s State) bool { return s.Cluster.ID != "" })
	n := create(t, c, network("blue", "10.42.0.0/16", 26))
	block, err := claimAs(t, c, n, "a")
	if err != nil {
		t.Fatal(err)
	}
	s := r.await(t, "the block", func(s State) bool { return s.Networks["blue"] != nil && s.Networks["blue"].Blocks[block] == "a" })
	if s.Networks["blue"].Created != n.Created {
		t.Errorf("created at %d, want %d", s.Networks["blue"].Created, n.Created)
	}
	r.following.Join(nil)
	r.await(t, "nothing of the members after leaving", func(s State) bool { n := s.Networks["blue"]; return n.Readable() && !n.Followed && len(n.Blocks) == 0 })
	if err := c.Delete(t.Context(), "blue"); err != nil {
		t.Fatal(err)
	}
	r.await(t, "the network's end", func(s State) bool { return s.Networks["blue"].Absent() })
}

// What changed while a follower was away, and etcd has forgotten how, is found by reading everything.
func TestFollowAfterCompaction(t *testing.T) {
	sim, c := newStore(t)
	alive(t, sim, "a")
	away := sim.Client(9)
	followed := []string{"blue", "green", "red", "white"}
	r := follow(t, New(away), Memory{}, followed...)
	for i, name := range followed {
		create(t, c, network(name, fmt.Sprintf("10.%d.0.0/16", 42+i), 26))
		r.await(t, "the network", func(s State) bool { return s.Networks[name].Readable() })
	}
	away.Cut(true)
	if err := c.Publish(t.Context(), State{}, "a", "a", Host{VTEP: addr("192.0.2.2")}); err != nil {
		t.Fatal(err)
	}
	sim.Compact()
	away.Cut(false)
	r.await(t, "the new host", func(s State) bool { return s.Hosts["a"].VTEP == addr("192.0.2.2") })
	compacted := 0
	for range len(r.disturbed) {
		if errors.Is(<-r.disturbed, etcd.ErrCompacted) {
			compacted++
		}
	}
	if compacted != 1 {
		t.Errorf("interrupted %d times by one compaction", compacted)
	}
	if len(r.wentBack) > 0 {
		t.Errorf("a compaction is taken for a store that went back: %v", <-r.wentBack)
	}
}

// What is followed and does not change is not compacted away: it is known up to the mark.
func TestFollowIdleAcrossCompactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := newStore(t)
		away := sim.Client(9)
		r := follow(t, New(away), Memory{}, "blue")
		create(t, c, network("blue", "10.42.0.0/16", 26))
		r.await(t, "the network", func(s State) bool { return s.Networks["blue"].Readable() })
		for range 6 {
			for range 30 { // as with etcd's --auto-compaction-retention=30m
				sim.Put("x", "")
				time.Sleep(time.Minute)
			}
			sim.Compact()
			for range 30 {
				sim.Put("x", "")
				time.Sleep(time.Minute)
			}
			away.Cut(true)
			time.Sleep(time.Minute)
			away.Cut(false)
		}
		for range len(r.disturbed) {
			if err := <-r.disturbed; errors.Is(err, etcd.ErrCompacted) {
				t.Fatal("what nobody changed was compacted away")
			}
		}
	})
}

// What was read without a change of it is no proof that the store has still the history which led there.
func TestFollowAfterARestoreThatNothingShows(t *testing.T) {
	sim, c := newStore(t)
	alive(t, sim, "a")
	r := follow(t, c, Memory{})
	r.await(t, "the cluster", func(s State) bool { return s.Cluster.ID != "" })
	backup := sim.Backup()
	sim.Put("x", "") // what nobody follows
	away := sim.Client(9)
	late := follow(t, New(away), Memory{})
	late.await(t, "the cluster", func(s State) bool { return s.Cluster.ID != "" })
	away.Cut(true)
	sim.Restore(backup)
	if err := c.Publish(t.Context(), State{}, "a", "a", Host{VTEP: addr("192.0.2.2")}); err != nil {
		t.Fatal(err)
	}
	away.Cut(false)
	late.await(t, "the host", func(s State) bool { return s.Hosts["a"].VTEP == addr("192.0.2.2") })
}

// More keys than a page, and a follower that sees them all at one revision.
func TestListInPages(t *testing.T) {
	sim, c := newStore(t)
	create(t, c, network("blue", "10.42.0.0/16", 30))
	const blocks = 2*pageSize + 7
	for i := range blocks {
		sim.Put(blockKey("blue", prefix(fmt.Sprintf("10.42.%d.%d/30", i/64, i%64*4))), "a")
	}
	if got := len(current(t, c).Networks["blue"].BlocksOf("a")); got != blocks {
		t.Errorf("%d blocks, want %d", got, blocks)
	}
}

// A host knows a store again, and one that went back, whatever revision that has reached since.
func TestRecognise(t *testing.T) {
	for _, test := range []struct {
		name string
		then func(t *testing.T, sim *etcdsim.Sim, backup etcdsim.Backup)
		want bool // that it went back
	}{
		{"nothing", func(*testing.T, *etcdsim.Sim, etcdsim.Backup) {}, false},
		{"more", func(_ *testing.T, sim *etcdsim.Sim, _ etcdsim.Backup) { sim.Put("x", "") }, false},
		{"compaction", func(_ *testing.T, sim *etcdsim.Sim, _ etcdsim.Backup) { sim.Put("x", ""); sim.Compact() }, false},
		{"restored", func(_ *testing.T, sim *etcdsim.Sim, b etcdsim.Backup) { sim.Restore(b) }, true},
		{"restored, and gone on since", func(_ *testing.T, sim *etcdsim.Sim, b etcdsim.Backup) {
			sim.Restore(b)
			for range 100 {
				sim.Put("x", "")
			}
		}, true},
		{"emptied", func(_ *testing.T, sim *etcdsim.Sim, _ etcdsim.Backup) { sim.Wipe() }, true},
		{"emptied, and used by others since", func(t *testing.T, sim *etcdsim.Sim, _ etcdsim.Backup) {
			sim.Wipe()
			if _, err := New(sim.Client(5)).recognise(t.Context(), Memory{}, testDefaults()); err != nil {
				t.Fatal(err)
			}
			for range 100 {
				sim.Put("x", "")
			}
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			sim, c := newStore(t)
			memory, err := c.recognise(t.Context(), Memory{}, testDefaults())
			if err != nil {
				t.Fatal(err)
			}
			backup := sim.Backup()
			for i := range 5 {
				key := fmt.Sprint("later", i)
				sim.Put(key, "")
				kv, _, err := c.get(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				memory.see(kv, false)
			}
			test.then(t, sim, backup)
			now, err := c.recognise(t.Context(), memory, testDefaults())
			if errors.Is(err, ErrWentBack) != test.want || err != nil && !test.want {
				t.Errorf("%v, want that it went back %v", err, test.want)
			}
			if _, settles := sim.Keys(settling)[settling]; settles != test.want {
				t.Errorf("settles %v", settles)
			}
			if now.Epoch == memory.Epoch && test.want {
				t.Error("the epoch is the one from before")
			}
			if again, err := c.recognise(t.Context(), now, testDefaults()); err != nil || again.Epoch != now.Epoch {
				t.Errorf("the second time: %v", err)
			}
		})
	}
}

// A store that went back and could not be told so, as it had no space, is not taken for the same when it looks like it later.
func TestRecogniseWithoutSpace(t *testing.T) {
	sim, c := newStore(t)
	memory, err := c.recognise(t.Context(), Memory{}, testDefaults())
	if err != nil {
		t.Fatal(err)
	}
	backup := sim.Backup()
	sim.Put("later", "")
	memory.see(etcd.KV{Key: "none", Modified: memory.Revision + 1}, true)
	sim.Restore(backup)
	sim.SetNoSpace(true)
	memory, err = c.recognise(t.Context(), memory, testDefaults())
	if err == nil || errors.Is(err, ErrWentBack) {
		t.Errorf("without space: %v", err)
	}
	sim.SetNoSpace(false)
	memory.Mark, memory.MarkRevision = "", 0
	sim.Put("later", "")
	now, err := c.recognise(t.Context(), memory, testDefaults())
	if !errors.Is(err, ErrWentBack) {
		t.Errorf("with space again: %v, want ErrWentBack", err)
	}
	if _, err := c.recognise(t.Context(), now, testDefaults()); err != nil {
		t.Error(err)
	}
}

// A deletion that the store has lost shows that it went back, also when nothing else does.
func TestRecogniseByADeletion(t *testing.T) {
	for _, same := range []bool{true, false} {
		sim, c := newStore(t)
		sim.Put("a", "")
		memory, err := c.recognise(t.Context(), Memory{}, testDefaults())
		if err != nil {
			t.Fatal(err)
		}
		backup := sim.Backup()
		sim.Delete("a")
		page, err := c.store.Range(t.Context(), etcd.Range{Key: "a"})
		if err != nil {
			t.Fatal(err)
		}
		memory.see(etcd.KV{Key: "a", Modified: page.Revision}, true)
		if !same {
			sim.Restore(backup)
		}
		sim.Put("x", "")
		if _, err := c.recognise(t.Context(), memory, testDefaults()); errors.Is(err, ErrWentBack) == same {
			t.Errorf("the store is the same: %v, and recognised: %v", same, err)
		}
	}
}

// Who comes late to an epoch that others have begun begins none.
func TestOneEpochForAll(t *testing.T) {
	sim, c := newStore(t)
	memory, err := c.recognise(t.Context(), Memory{}, testDefaults())
	if err != nil {
		t.Fatal(err)
	}
	backup := sim.Backup()
	sim.Put("later", "")
	kv, _, _ := c.get(t.Context(), "later")
	memory.see(kv, false)
	for range 3 { // times that it is restored
		sim.Restore(backup)
		epochs := make(map[string]bool)
		for range 3 { // hosts
			now, err := c.recognise(t.Context(), memory, testDefaults())
			if !errors.Is(err, ErrWentBack) {
				t.Fatal(err)
			}
			epochs[now.Epoch] = true
		}
		if len(epochs) != 1 {
			t.Errorf("%d epochs, want 1", len(epochs))
		}
	}
}

func TestFollowFindsThatTheStoreWentBack(t *testing.T) {
	sim, c := newStore(t)
	r := follow(t, c, Memory{})
	create(t, c, network("blue", "10.42.0.0/16", 26))
	r.await(t, "the network", func(s State) bool { return s.Networks["blue"].Readable() })
	sim.Wipe()
	select {
	case err := <-r.wentBack:
		if !errors.Is(err, ErrWentBack) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("it is not noticed")
	}
	r.await(t, "a complete state without the network", func(s State) bool { return s.Networks["blue"].Absent() && s.Cluster.ID != "" })
}

// interposed is a store that does something before it reads.
type interposed struct {
	etcd.Store
	before func(etcd.Range)
}

func (s interposed) Range(ctx context.Context, r etcd.Range) (etcd.Page, error) {
	s.before(r)
	return s.Store.Range(ctx, r)
}

// Txn tells of a look at the store as of a read.
func (s interposed) Txn(ctx context.Context, t etcd.Txn) (etcd.Result, error) {
	if len(t.If) == 0 && t.Then[0] == etcd.Read(clusterKey) {
		s.before(etcd.Range{Key: clusterKey})
	}
	return s.Store.Txn(ctx, t)
}

// A store that is emptied after it was recognised, and before it is read, has deleted nothing.
func TestFollowAWipeBeforeTheList(t *testing.T) {
	sim, c := newStore(t)
	create(t, c, network("blue", "10.42.0.0/16", 26))
	memory, err := c.recognise(t.Context(), Memory{}, testDefaults())
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	r := follow(t, New(interposed{sim.Client(9), func(r etcd.Range) {
		if r.Key == networks {
			once.Do(sim.Wipe)
		}
	}}), memory)
	select {
	case s := <-r.states:
		if len(r.wentBack) == 0 {
			t.Errorf("it reports that the networks are %v, before it has found out", s.Networks)
		}
	case <-time.After(patience):
		t.Fatal("no state in time")
	}
}

// What was listed is not listed again because etcd did not answer a moment later: it is overloaded already.
func TestFollowKeepsItsListOverAnOutage(t *testing.T) {
	sim, c := newStore(t)
	create(t, c, network("blue", "10.42.0.0/16", 26))
	var mu sync.Mutex
	lists, recognised := 0, 0
	r := follow(t, New(interposed{sim.Client(9), func(r etcd.Range) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case r.Key == networks:
			lists++
		case r.Key == clusterKey && r.Limit == 0:
			if recognised++; recognised == 3 { // absent, as founded, and when the lists are there
				sim.SetDown(true)
				time.AfterFunc(100*time.Millisecond, func() { sim.SetDown(false) })
			}
		}
	}}), Memory{})
	r.await(t, "the network", func(s State) bool { return s.Networks["blue"].Readable() })
	mu.Lock()
	defer mu.Unlock()
	if lists != 1 || recognised < 4 {
		t.Errorf("listed %d times (%d requests for the cluster)", lists, recognised)
	}
}

// Who leaves takes along what was claimed again for it meanwhile.
func TestLeave(t *testing.T) {
	sim, c := newStore(t)
	alive(t, sim, "a")
	n := create(t, c, network("blue", "10.42.0.0/16", 26))
	sim.Put(blockKey("blue", prefix("10.42.1.0/26")), "a")
	sim.Put(blockKey("blue", prefix("10.42.2.0/26")), "b")
	sim.Put(usedKey("blue", "a"), "")
	if left, err := c.Leave(t.Context(), n, "a"); left || err != nil {
		t.Errorf("with containers: left %v, %v", left, err)
	}
	sim.Delete(usedKey("blue", "a"))
	if left, err := c.Leave(t.Context(), n, "a"); !left || err != nil {
		t.Errorf("without containers: left %v, %v", left, err)
	}
	if blocks := current(t, c).Networks["blue"].Blocks; len(blocks) != 1 || blocks[prefix("10.42.2.0/26")] != "b" {
		t.Errorf("blocks %v are left", blocks)
	}
}

func TestBackoff(t *testing.T) {
	var b backoff
	now := time.Now()
	for i, want := range []time.Duration{
		backoffFirst, 2 * backoffFirst, 4 * backoffFirst, 8 * backoffFirst, 16 * backoffFirst, 32 * backoffFirst, backoffMost, backoffMost,
	} {
		pause, limit := b.next(now)
		if limit != want || pause < want/2 || pause > want {
			t.Errorf("pause %d is %v of at most %v, want between %v and %v", i, pause, limit, want/2, want)
		}
		now = now.Add(pause)
	}
	if _, limit := b.next(now.Add(backoffMost + 2*backoffCalm)); limit != backoffFirst {
		t.Errorf("after a calm time, the limit is %v, want %v", limit, backoffFirst)
	}
}

var _ etcd.Store = (*etcdsim.Client)(nil)
