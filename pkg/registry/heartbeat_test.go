package registry

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairway-cni/fairway/pkg/etcd/etcdsim"
)

// beats is a heartbeat that a test follows, in a bubble of time.
type beats struct {
	last  error
	count int
	lease int64
	stop  func()
}

func beat(t *testing.T, sim *etcdsim.Sim, seed uint64, h Heartbeat) *beats {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	b, done := &beats{}, make(chan struct{})
	if h.TTL = 30 * time.Second; h.BootID == "" {
		h.BootID = h.Node
	}
	h.Report = func(lease int64, err error) { b.last, b.lease, b.count = err, lease, b.count+1 }
	go func() {
		New(sim.Client(seed)).Beat(ctx, h)
		close(done)
	}()
	b.stop = func() {
		cancel()
		<-done
	}
	return b
}

func TestOneMachineOfAName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := etcdsim.New()
		first := beat(t, sim, 1, Heartbeat{Node: "a", BootID: "boot1"})
		time.Sleep(time.Second)
		second := beat(t, sim, 2, Heartbeat{Node: "a", BootID: "boot2"})
		defer second.stop()
		time.Sleep(5 * time.Minute)
		if first.last != nil || !errors.Is(second.last, ErrNodeTaken) {
			t.Errorf("first %v, second %v, want the second refused", first.last, second.last)
		}
		first.stop()
		time.Sleep(time.Minute)
		if second.last != nil {
			t.Errorf("after the first has stopped: %v", second.last)
		}
	})
}

// Whose name is in use finds out also from a store that cannot be written.
func TestOneMachineOfANameWithoutSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := etcdsim.New()
		first := beat(t, sim, 1, Heartbeat{Node: "a", BootID: "boot1"})
		defer first.stop()
		time.Sleep(time.Second)
		sim.SetNoSpace(true)
		second := beat(t, sim, 2, Heartbeat{Node: "a", BootID: "boot2"})
		defer second.stop()
		time.Sleep(time.Minute)
		if first.last != nil || !errors.Is(second.last, ErrNodeTaken) {
			t.Errorf("first %v, second %v, want ErrNodeTaken", first.last, second.last)
		}
	})
}

// A machine that has another's name finds out before it has a heartbeat, also when the other is dead.
func TestAnothersName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := etcdsim.New()
		sim.Put(hostKey("a"), `{"version": 1, "vtep": "192.0.2.1", "machine": "m1"}`)
		other, same := beat(t, sim, 1, Heartbeat{Node: "a", Machine: "m2"}), beat(t, sim, 2, Heartbeat{Node: "a", Machine: "m1"})
		defer same.stop()
		defer other.stop()
		time.Sleep(time.Minute)
		if !errors.Is(other.last, ErrNodeTaken) || same.last != nil {
			t.Errorf("another machine %v, the same %v", other.last, same.last)
		}
	})
}

func TestHeartbeatComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := etcdsim.New()
		b := beat(t, sim, 1, Heartbeat{Node: "a"})
		defer b.stop()
		time.Sleep(time.Second)
		for what, break_ := range map[string]func(){
			"outage": func() { sim.SetDown(true); time.Sleep(5 * time.Minute); sim.SetDown(false) },
			"wipe":   sim.Wipe,
			"delete": func() { sim.Delete(heartbeatKey("a")) },
		} {
			break_()
			time.Sleep(time.Minute)
			if b.last != nil || sim.Keys(heartbeatKey("a"))[heartbeatKey("a")] != "a" {
				t.Errorf("%s: %v", what, b.last)
			}
		}
	})
}

// keeperWorld is hosts with a block each in one network, and a keeper.
func keeperWorld(t *testing.T, hosts ...string) (*etcdsim.Sim, *Client, *Keeper) {
	t.Helper()
	sim, c := newStore(t)
	sim.Put(clusterKey, `{"version": 1, "id": "i", "epoch": "e", "reclaimAfter": "24h", "family": 4}`)
	n := create(t, c, network("blue", "10.42.0.0/16", 26))
	for _, node := range hosts {
		alive(t, sim, node)
		if _, err := claimAs(t, c, n, node); err != nil {
			t.Fatal(err)
		}
		if err := c.Publish(t.Context(), State{}, node, node, Host{VTEP: addr("192.0.2.1")}); err != nil {
			t.Fatal(err)
		}
	}
	return sim, c, c.NewKeeper(hosts[0])
}

func owners(t *testing.T, c *Client) map[string]bool {
	t.Helper()
	return current(t, c).Networks["blue"].Owners()
}

func TestKeeper(t *testing.T) {
	const hold = 24 * time.Hour
	wanted := func(sim *etcdsim.Sim) { sim.Put(wantedKey("blue"), "") }
	for _, test := range []struct {
		name   string
		before func(sim *etcdsim.Sim) // the looks
		late   func(sim *etcdsim.Sim) // between the looks
		second time.Duration          // of the second look
		want   bool                   // that dead keeps its block
	}{
		{"too early", nil, wanted, hold - time.Second, true},
		{"over", nil, wanted, hold, false},
		{"over, and there are other blocks", nil, nil, hold, true},
		{"over, and there are other blocks again", wanted, nil, hold, true},
		{"came back", nil, func(sim *etcdsim.Sim) { wanted(sim); sim.Put(heartbeatKey("dead"), "dead") }, hold, true},
		{"with containers", func(sim *etcdsim.Sim) { sim.Put(usedKey("blue", "dead"), "") }, nil, hold, true},
		{"with containers, and no block is free", func(sim *etcdsim.Sim) { sim.Put(usedKey("blue", "dead"), "") }, wanted, hold, false},
		{"an alarm of etcd", func(sim *etcdsim.Sim) { sim.SetNoSpace(true) }, wanted, hold, true},
		{"the store settles", nil, func(sim *etcdsim.Sim) { wanted(sim); sim.Put(settling, "") }, hold, true},
		{"most seem dead", func(sim *etcdsim.Sim) { sim.Delete(heartbeatKey("b")); sim.Delete(heartbeatKey("c")) }, wanted, hold, true},
		{"another is the keeper", nil, func(sim *etcdsim.Sim) { wanted(sim); sim.Put(keeperKey, "b") }, hold, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			sim, c, k := keeperWorld(t, "a", "b", "c", "dead")
			sim.Delete(heartbeatKey("dead"))
			lease, err := sim.Client(3).Grant(t.Context(), hold)
			if err != nil {
				t.Fatal(err)
			}
			if elected, err := k.elect(t.Context(), lease); err != nil || !elected {
				t.Fatal(elected, err)
			}
			if test.before != nil {
				test.before(sim)
			}
			start := time.Now()
			if err := k.Look(t.Context(), lease, start); err != nil {
				t.Fatal(err)
			}
			if test.late != nil {
				test.late(sim)
			}
			if err := k.Look(t.Context(), lease, start.Add(test.second)); err != nil {
				t.Fatal(err)
			}
			if got := owners(t, c); got["dead"] != test.want || !got["a"] || !got["b"] {
				t.Errorf("owners %v, want dead among them %v", got, test.want)
			}
		})
	}
}

// What is wanted is taken first of dead hosts without known containers, and the record of a host goes with the last that it has.
func TestKeeperTakesTheUnusedFirst(t *testing.T) {
	sim, c, k := keeperWorld(t, "a", "b", "c", "d", "used", "idle")
	lease, err := sim.Client(3).Grant(t.Context(), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	sim.Put(usedKey("blue", "used"), "")
	sim.Delete(heartbeatKey("used"))
	sim.Delete(heartbeatKey("idle"))
	now := time.Now()
	for _, want := range [][]string{{"used", "idle"}, {"used"}, nil} {
		if err := k.Look(t.Context(), lease, now); err != nil {
			t.Fatal(err)
		}
		got, hosts := owners(t, c), current(t, c).Hosts
		for _, node := range []string{"used", "idle"} {
			_, recorded := hosts[node]
			if is := slices.Contains(want, node); got[node] != is || recorded != is {
				t.Errorf("owners %v, hosts %v, want %v of the dead", got, hosts, want)
			}
		}
		sim.Put(wantedKey("blue"), "")
		now = now.Add(24 * time.Hour)
	}
}

func TestForget(t *testing.T) {
	sim, c, _ := keeperWorld(t, "a", "dead")
	sim.Put(usedKey("blue", "dead"), "")
	if err := c.Forget(t.Context(), "dead"); err == nil {
		t.Error("a host that is alive was forgotten")
	}
	sim.Delete(heartbeatKey("dead"))
	if err := c.Forget(t.Context(), "dead"); err != nil {
		t.Fatal(err)
	}
	if got := owners(t, c); got["dead"] || !got["a"] || len(current(t, c).Hosts) != 1 {
		t.Errorf("owners %v, hosts %v", got, current(t, c).Hosts)
	}
	if err := c.Forget(t.Context(), "dead"); err == nil {
		t.Error("a host that is not there was forgotten")
	}
}

// Two hosts with one address: who is alive keeps it.
func TestOneHostOfAnAddress(t *testing.T) {
	sim, c := newStore(t)
	alive(t, sim, "a", "b")
	if err := c.Publish(t.Context(), State{}, "a", "a", Host{VTEP: addr("192.0.2.1")}); err != nil {
		t.Fatal(err)
	}
	s := current(t, c)
	if err := c.Publish(t.Context(), s, "b", "b", Host{VTEP: addr("192.0.2.1")}); !errors.Is(err, ErrAddressTaken) {
		t.Errorf("over a host that is alive: %v", err)
	}
	sim.Delete(heartbeatKey("a"))
	if err := c.Publish(t.Context(), s, "b", "b", Host{VTEP: addr("192.0.2.1")}); err != nil {
		t.Errorf("over a host that is dead: %v", err)
	}
	if s = current(t, c); s.Precedes("b", "a") >= 0 {
		t.Error("the dead host precedes")
	}
}
