package registry

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd"
	"github.com/fairway-cni/fairway/pkg/etcd/etcdsim"
)

// A store that has lost a claim gives its block to nobody who knows a later pulse, whatever revision it has reached by then: neither as
// a block, by either way, nor by a pin.
func TestNothingIsClaimedOfAStoreThatWentBack(t *testing.T) {
	for _, later := range []int{0, 100} {
		t.Run(fmt.Sprint(later), func(t *testing.T) {
			sim, c := newStore(t)
			n := create(t, c, network("blue", "10.42.0.0/28", 29))
			alive(t, sim, "a", "b")
			known, err := c.recognise(t.Context(), Memory{}, testDefaults())
			if err != nil {
				t.Fatal(err)
			}
			backup := sim.Backup()
			if _, err := c.Claim(t.Context(), known, n, "a", "a", n.Definition.Subnets[0]); err != nil {
				t.Fatal(err)
			}
			if _, done, err := c.beatPulse(t.Context(), readPulseOf(t, c)); !done || err != nil {
				t.Fatal(done, err)
			}
			known, err = c.recognise(t.Context(), known, testDefaults())
			if err != nil {
				t.Fatal(err)
			}
			sim.Restore(backup)
			for i := range later {
				sim.Put("later", fmt.Sprint(i))
			}
			subnet := n.Definition.Subnets[0]
			if block, err := c.Claim(t.Context(), known, n, "b", "b", subnet); !errors.Is(err, ErrUnverified) {
				t.Errorf("claimed %v: %v", block, err)
			}
			if block, _, err := c.Guess(t.Context(), known, n, "b", "b", subnet); !errors.Is(err, ErrUnverified) {
				t.Errorf("guessed %v: %v", block, err)
			}
			if err := c.Pin(t.Context(), known, n, addr("10.42.0.9"), Pin{"b", "c", "eth0"}); !errors.Is(err, ErrUnverified) {
				t.Errorf("pinned: %v", err)
			}
			if now := current(t, c).Networks["blue"]; len(now.Blocks)+len(now.Pins) > 0 {
				t.Errorf("the store has %v, %v", now.Blocks, now.Pins)
			}
		})
	}
}

func readPulseOf(t *testing.T, c *Client) pulse {
	t.Helper()
	s, err := c.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.pulse
}

// restoring is a store that goes back at a word, between two requests of one claim.
type restoring struct {
	etcd.Store
	before func()
}

func (s *restoring) Txn(ctx context.Context, t etcd.Txn) (etcd.Result, error) {
	for _, op := range t.Then {
		if l, ok := parseKey(op.Key); ok && l.part == blocksPart && op.Do == etcd.Put {
			s.before()
		}
	}
	return s.Store.Txn(ctx, t)
}

// A store that goes back after a host has made sure of it, and before it claims, gives it nothing.
func TestNothingIsClaimedWhileTheStoreGoesBack(t *testing.T) {
	sim, c := newStore(t)
	n := create(t, c, network("blue", "10.42.0.0/28", 29))
	alive(t, sim, "b")
	known, err := c.recognise(t.Context(), Memory{}, testDefaults())
	if err != nil {
		t.Fatal(err)
	}
	backup := sim.Backup()
	if _, done, err := c.beatPulse(t.Context(), readPulseOf(t, c)); !done || err != nil {
		t.Fatal(done, err)
	}
	if known, err = c.recognise(t.Context(), known, testDefaults()); err != nil {
		t.Fatal(err)
	}
	c.store = &restoring{c.store, func() { sim.Restore(backup) }}
	if block, _, err := c.Guess(t.Context(), known, n, "b", "b", n.Definition.Subnets[0]); !block.IsValid() && err == nil {
		_, err = c.Claim(t.Context(), known, n, "b", "b", n.Definition.Subnets[0])
		if !errors.Is(err, ErrUnverified) {
			t.Errorf("then: %v", err)
		}
	} else {
		t.Errorf("got %v, %v", block, err)
	}
	if blocks := current(t, c).Networks["blue"].Blocks; len(blocks) > 0 {
		t.Errorf("the store has %v", blocks)
	}
}

// The hosts of a cluster keep its pulse together: it changes all the time, not more often the more they are, and each knows the last.
func TestPulse(t *testing.T) {
	for _, hosts := range []int{1, 20} {
		t.Run(fmt.Sprint(hosts), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := etcdsim.New()
				var all []*recorder
				for i := range hosts {
					all = append(all, follow(t, New(sim.Client(uint64(i))), Memory{}))
				}
				time.Sleep(time.Minute)
				before := readPulseOf(t, New(sim.Client(99)))
				const waited = 10 * time.Minute
				time.Sleep(waited)
				synctest.Wait()
				now := readPulseOf(t, New(sim.Client(99)))
				if beats := now.modified - before.modified; beats < int64(waited/pulseEvery/3) || beats > int64(waited/pulseEvery)+1 {
					t.Errorf("%d beats in %v", beats, waited)
				}
				for i, r := range all {
					if !now.has(r.following.memory.Pulse) {
						t.Errorf("host %d knows %q, and the store has %q", i, r.following.memory.Pulse, now.words)
					}
				}
			})
		})
	}
}

// Of a block whose record is from before the store went back, who owns it writes it again, and that only.
func TestConfirm(t *testing.T) {
	sim, c := newStore(t)
	create(t, c, network("blue", "10.42.0.0/24", 26))
	alive(t, sim, "former", "owner")
	for _, block := range []string{"10.42.0.0/26", "10.42.0.64/26"} {
		sim.Put(blockKey("blue", prefix(block)), "former")
	}
	memory, err := c.recognise(t.Context(), Memory{}, testDefaults())
	if err != nil {
		t.Fatal(err)
	}
	backup := sim.Backup()
	memory.see(etcd.KV{Key: "x", Modified: memory.Revision + 1}, true)
	sim.Restore(backup)
	memory, err = c.recognise(t.Context(), memory, testDefaults())
	if !errors.Is(err, ErrWentBack) || memory.Turned == 0 {
		t.Fatalf("%v, %+v", err, memory)
	}
	state := func() *Network {
		r := follow(t, New(sim.Client(9)), memory, "blue")
		return r.await(t, "the network", func(s State) bool { return s.Networks["blue"].Readable() && s.Networks["blue"].Followed }).Networks["blue"]
	}
	n := state()
	if len(n.Restored) != 2 {
		t.Fatalf("restored are %v", n.Restored)
	}
	if err := c.Confirm(t.Context(), n, "owner", "owner", prefix("10.42.0.0/26")); err != nil {
		t.Error(err)
	}
	if err := c.Confirm(t.Context(), n, "former", "former", prefix("10.42.0.0/26")); err != nil { // by what was there before
		t.Error(err)
	}
	if err := c.Confirm(t.Context(), n, "owner", "another boot", prefix("10.42.0.64/26")); !errors.Is(err, ErrNodeTaken) {
		t.Errorf("as another process: %v", err)
	}
	// What others change in the cluster's record begins no epoch.
	mixed, err := c.store.Range(t.Context(), etcd.Range{Key: clusterKey})
	if err != nil {
		t.Fatal(err)
	}
	record, err := readCluster(mixed.KVs[0].Value)
	if err != nil || !record.Mixed {
		t.Fatalf("%+v, %v", record, err)
	}
	if err := c.Unmix(t.Context()); err != nil {
		t.Fatal(err)
	}
	n = state()
	if n.Blocks[prefix("10.42.0.0/26")] != "owner" || len(n.Restored) != 1 || n.Restored[prefix("10.42.0.64/26")] == 0 {
		t.Errorf("blocks %v, restored %v", n.Blocks, n.Restored)
	}
	if err := c.Delete(t.Context(), "blue"); err != nil {
		t.Fatal(err)
	}
	if err := c.Confirm(t.Context(), n, "owner", "owner", prefix("10.42.0.64/26")); !errors.Is(err, agentapi.ErrNotFound) {
		t.Errorf("of a network that is gone: %v", err)
	}
}

// unheard is a store whose watches of a network's members never stand.
type unheard struct{ etcd.Store }

func (s unheard) Watch(ctx context.Context, r etcd.Range) <-chan etcd.Event {
	if r.Key == membership("blue").Key {
		never := make(chan etcd.Event)
		context.AfterFunc(ctx, func() { close(never) })
		return never
	}
	return s.Store.Watch(ctx, r)
}

// That everything is followed is said also when what is not has been left.
func TestLeavingWhatIsNotFollowedYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := etcdsim.New()
		create(t, New(sim.Client(1)), network("blue", "10.42.0.0/16", 26))
		r := follow(t, New(unheard{sim.Client(2)}), Memory{}, "blue")
		time.Sleep(time.Minute)
		if len(r.disturbed) > 0 {
			t.Fatalf("it says %v", <-r.disturbed)
		}
		r.following.Join(nil)
		time.Sleep(time.Minute)
		if len(r.disturbed) == 0 {
			t.Error("it does not say that it goes on")
		}
	})
}
