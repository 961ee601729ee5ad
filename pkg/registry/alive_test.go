package registry

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
)

// signs follows what StayAlive reports.
type signs struct {
	reports chan error
	stop    func()
}

// startSign starts to give a node's sign of life, until stop is called or the test ends.
func startSign(t *testing.T, c *Client, node, bootID string) *signs {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s, done := &signs{reports: make(chan error, 100)}, make(chan struct{})
	go func() {
		c.StayAlive(ctx, node, bootID, 5*time.Second, func(err error) { s.reports <- err })
		close(done)
	}()
	s.stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(s.stop)
	return s
}

func (s *signs) await(t *testing.T, what string, fits func(error) bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case err := <-s.reports:
			if fits(err) {
				return
			}
		case <-deadline:
			t.Fatalf("%s: not seen in time", what)
		}
	}
}

func isNil(err error) bool { return err == nil }

// stayAlive gives a node's sign of life and waits until it is there.
func stayAlive(t *testing.T, c *Client, node, bootID string) *signs {
	t.Helper()
	s := startSign(t, c, node, bootID)
	s.await(t, "sign of life of "+node, isNil)
	return s
}

// publish says what a node is, as the agent does when it is alive.
func publish(t *testing.T, c *Client, n *Network, node string, record Node) {
	t.Helper()
	s := stayAlive(t, c, node, record.BootID)
	if err := c.Publish(t.Context(), n.Definition.Name, node, n.Created, record); err != nil {
		t.Fatal(err)
	}
	s.stop()
}

func TestOneMachineOfAName(t *testing.T) {
	c := newClient(t, newEtcd(t).Endpoints()...)
	n := create(t, c, network("blue", "10.42.0.0/16", 26))
	first := stayAlive(t, c, "a", "boot1")
	second := startSign(t, c, "a", "boot2")
	second.await(t, "refusal", func(err error) bool { return errors.Is(err, ErrNodeTaken) })
	if err := c.Publish(t.Context(), "blue", "a", n.Created, Node{VTEP: addr("192.0.2.2"), BootID: "boot2"}); !errors.Is(err, ErrNodeTaken) {
		t.Errorf("publishing under another's name: error %v, want one that is ErrNodeTaken", err)
	}
	first.stop()
	second.await(t, "taking over from a host that has stopped", isNil)
	if err := c.Publish(t.Context(), "blue", "a", n.Created, Node{VTEP: addr("192.0.2.2"), BootID: "boot2"}); err != nil {
		t.Error(err)
	}
}

func TestAgentStartsAgainBeforeItsLeaseEnds(t *testing.T) {
	etcd := newEtcd(t)
	killed := newClient(t, etcd.Endpoints()...)
	stayAlive(t, killed, "a", "boot1")
	killed.Close() // without a word, as after SIGKILL
	stayAlive(t, newClient(t, etcd.Endpoints()...), "a", "boot1")
}

func TestSignOfLifeComesBackAfterAnOutage(t *testing.T) {
	etcd := newEtcd(t)
	c := newClient(t, etcd.Endpoints()...)
	s := stayAlive(t, c, "a", "boot1")
	if err := etcd.Kill(0); err != nil {
		t.Fatal(err)
	}
	s.await(t, "loss", func(err error) bool { return err != nil })
	if err := etcd.Restart(0); err != nil {
		t.Fatal(err)
	}
	s.await(t, "return", isNil)
}

func TestDeadHostsBlocksComeBack(t *testing.T) {
	c := newClient(t, newEtcd(t).Endpoints()...)
	n := create(t, c, network("blue", "10.42.0.0/16", 26))
	for _, node := range []string{"living", "dead"} {
		publish(t, c, n, node, Node{VTEP: addr("192.0.2.2"), BootID: node})
		if _, err := c.Claim(t.Context(), n, node, n.Definition.Subnets[0]); err != nil {
			t.Fatal(err)
		}
		if err := c.Use(t.Context(), "blue", node, n.Created); err != nil {
			t.Fatal(err)
		}
	}
	stayAlive(t, c, "living", "living")
	const hold = 24 * time.Hour
	u, start := c.NewUndertaker(hold), time.Now()
	look := func(after time.Duration) map[string]bool {
		t.Helper()
		if err := u.Look(t.Context(), current(t, c), start.Add(after)); err != nil {
			t.Fatal(err)
		}
		return current(t, c).Networks["blue"].Owners()
	}
	if owners := look(0); !owners["dead"] {
		t.Error("reclaimed at the first look")
	}
	if owners := look(hold - time.Second); !owners["dead"] {
		t.Error("reclaimed before the hold was over")
	}
	stop := stayAlive(t, c, "dead", "dead")
	look(hold - time.Second)
	stop.stop()
	if owners := look(hold); !owners["dead"] {
		t.Error("reclaimed although it was alive meanwhile")
	}
	if owners := look(2 * hold); owners["dead"] || !owners["living"] {
		t.Errorf("owners after the hold: %v, want only the living", owners)
	}
}

// A host that comes back between the look and the reclaiming keeps what it has.
func TestReclaimingIsGuarded(t *testing.T) {
	c := newClient(t, newEtcd(t).Endpoints()...)
	n := create(t, c, network("blue", "10.42.0.0/16", 26))
	if _, err := c.Claim(t.Context(), n, "a", n.Definition.Subnets[0]); err != nil {
		t.Fatal(err)
	}
	seen := current(t, c)
	s := stayAlive(t, c, "a", "boot")
	if err := c.bury(t.Context(), seen, "a"); err != nil {
		t.Fatal(err)
	}
	if !current(t, c).Networks["blue"].Owners()["a"] {
		t.Error("reclaimed from a host that is alive")
	}
	s.stop()
	publish(t, c, n, "a", Node{VTEP: addr("192.0.2.2"), BootID: "boot"})
	if err := c.bury(t.Context(), seen, "a"); err != nil {
		t.Fatal(err)
	}
	if len(current(t, c).Networks["blue"].Nodes) != 1 {
		t.Error("removed a record that is newer than the look")
	}
}

func TestNodesOfANetworkThatIsGone(t *testing.T) {
	c := newClient(t, newEtcd(t).Endpoints()...)
	stayAlive(t, c, "a", "boot")
	for name, err := range map[string]error{
		"publish": c.Publish(t.Context(), "gone", "a", 5, Node{BootID: "boot"}),
		"use":     c.Use(t.Context(), "gone", "a", 5),
	} {
		if !errors.Is(err, agentapi.ErrNotFound) {
			t.Errorf("%s: error %v, want one that is ErrNotFound", name, err)
		}
	}
	if left := current(t, c).Networks; len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
