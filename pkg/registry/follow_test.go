package registry

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairway-cni/fairway/pkg/agentapi"
)

func TestFollowSeesEveryChange(t *testing.T) {
	etcd := newEtcd(t)
	c := newClient(t, etcd.Endpoints()...)
	r := follow(t, c)
	r.await(t, "the first state, of an empty registry", func(s State) bool { return len(s.Networks) == 0 })

	n := create(t, c, network("blue", "10.42.0.0/16", 26))
	block, err := c.Claim(t.Context(), n, "a", n.Definition.Subnets[0])
	if err != nil {
		t.Fatal(err)
	}
	s := r.await(t, "the block", func(s State) bool { return s.Networks["blue"] != nil && s.Networks["blue"].Blocks[block] == "a" })
	if s.Networks["blue"].Created != n.Created || s.Revision <= n.Created {
		t.Errorf("created at %d, complete up to %d; want %d, and more", s.Networks["blue"].Created, s.Revision, n.Created)
	}
	if err := c.Delete(t.Context(), "blue"); err != nil {
		t.Fatal(err)
	}
	r.await(t, "the network's end", func(s State) bool { return len(s.Networks) == 0 })
}

// A host's VTEP changes while the follower is away, and etcd forgets how: only a comparison by value finds it.
func TestFollowAfterCompaction(t *testing.T) {
	etcd := newEtcd(t)
	c, away := newClient(t, etcd.Endpoints()...), newClient(t, etcd.Endpoints()...)
	n := create(t, c, network("blue", "10.42.0.0/16", 26))
	publish(t, c, n, "b", Node{VTEP: addr("192.0.2.1"), BootID: "boot"})
	old := current(t, away)

	publish(t, c, n, "b", Node{VTEP: addr("192.0.2.2"), BootID: "boot"})
	if _, err := c.etcd.Compact(t.Context(), current(t, c).Revision); err != nil {
		t.Fatal(err)
	}
	if _, err := away.watch(t.Context(), old, &recorder{states: make(chan State, 10), disturbed: make(chan error, 10)}); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Fatalf("watch from before the compaction: error %v, want ErrCompacted", err)
	}
	r := &recorder{states: make(chan State, 10)}
	if _, err := away.refresh(t.Context(), old, r); err != nil {
		t.Fatal(err)
	}
	r.await(t, "the new VTEP", func(s State) bool { return s.Networks["blue"].Nodes["b"].VTEP == addr("192.0.2.2") })
}

func TestFollowOverAnOutage(t *testing.T) {
	etcd := newEtcd(t)
	c := newClient(t, etcd.Endpoints()...)
	create(t, c, network("blue", "10.42.0.0/16", 26))
	r := follow(t, c)
	r.await(t, "the network", func(s State) bool { return s.Networks["blue"] != nil })
	if err := etcd.Kill(0); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Create(t.Context(), network("green", "10.43.0.0/16", 26)); !errors.Is(err, agentapi.ErrUnavailable) {
		t.Errorf("create without etcd: error %v, want one that is ErrUnavailable", err)
	}
	if err := etcd.Restart(0); err != nil {
		t.Fatal(err)
	}
	create(t, c, network("green", "10.43.0.0/16", 26))
	s := r.await(t, "the second network", func(s State) bool { return s.Networks["green"] != nil })
	if s.Networks["blue"] == nil {
		t.Error("the first network has gone")
	}
}

// More keys than a page, and a follower that sees them all at one revision.
func TestListInPages(t *testing.T) {
	c := newClient(t, newEtcd(t).Endpoints()...)
	create(t, c, network("blue", "10.42.0.0/16", 30))
	const blocks = 2*pageSize + 7
	var ops []clientv3.Op
	for i := range blocks {
		block := fmt.Sprintf("10.42.%d.%d/30", i/64, i%64*4)
		if ops = append(ops, clientv3.OpPut(blockKey("blue", prefix(block)), "a")); len(ops) == 100 || i == blocks-1 {
			if _, err := c.attempt(t.Context(), nil, ops, nil); err != nil {
				t.Fatal(err)
			}
			ops = nil
		}
	}
	s := current(t, c)
	if got := len(s.Networks["blue"].BlocksOf("a")); got != blocks {
		t.Errorf("%d blocks, want %d", got, blocks)
	}
	if s.Networks["blue"].Created == 0 {
		t.Error("the definition on the last page is missing")
	}
}

func TestSignsOfLifeAreNoEvents(t *testing.T) {
	c := newClient(t, newEtcd(t).Endpoints()...)
	from, end := followed()
	for _, key := range []string{aliveKey("a"), vniKey(5000)} {
		if key >= from && key < end {
			t.Errorf("%s lies in the range that hosts follow", key)
		}
	}
	create(t, c, network("blue", "10.42.0.0/16", 26))
	r := follow(t, c)
	r.await(t, "the network", func(s State) bool { return s.Networks["blue"] != nil })
	stayAlive(t, c, "a", "boot")
	create(t, c, network("green", "10.43.0.0/16", 26))
	if s := <-r.states; s.Networks["green"] == nil {
		t.Errorf("an update without the next network: %+v", s)
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
