package agent

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/registry"
)

func TestProblemsGoWithTheirNetworks(t *testing.T) {
	p := newProblems()
	for _, about := range []string{aboutEtcd, aboutUnderlay, ofNetwork + "blue", ofNetwork + "green", ofClaims + "blue", ofClaims + "green"} {
		p.note(about, errors.New("is wrong"))
	}
	p.forgetAbsent([]string{"green"})
	want := []string{"claims in network green: is wrong", "etcd: is wrong", "network green: is wrong", "underlay: is wrong"}
	if diff := cmp.Diff(want, p.sentences("")); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"etcd: is wrong", "underlay: is wrong"}, p.sentences("red")); diff != "" {
		t.Errorf("problems of another network (-want +got):\n%s", diff)
	}
}

func TestWhatIsRemembered(t *testing.T) {
	c := newCache()
	snap, _, _ := blueView().describe(blue())
	c.remember(map[string]snapshot{"blue": snap})
	if got := c.place().address; got != addr("192.0.2.11") {
		t.Errorf("address on the underlay %v, want that of the snapshot", got)
	}
	own := []netip.Prefix{prefix("10.42.0.64/26"), prefix("10.42.7.0/26")}
	for range 2 {
		if missing := c.had("blue", own); !slices.Equal(missing, []netip.Prefix{prefix("10.42.0.0/26")}) {
			t.Errorf("missing %v, want the first block of the snapshot", missing)
		}
	}
	c.drop("blue", prefix("10.42.0.0/26"))
	if missing := c.had("blue", own); missing != nil {
		t.Errorf("missing %v after it was given to another", missing)
	}
	if got, _ := c.snapshot("blue"); !snap.equal(got) || len(snap.own().Blocks) != 2 {
		t.Error("the snapshot has changed")
	}
	c.forget("blue")
	if missing := c.had("blue", nil); missing != nil {
		t.Errorf("missing %v of a network that was removed", missing)
	}
}

// Blocks that are given back are withheld first, and offered again when somebody asks.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, blocks := newCache(), []netip.Prefix{prefix("10.42.0.0/26"), prefix("10.42.1.0/26")}
		over, changed := c.drain("blue", blocks[:1], time.Minute)
		if len(over) > 0 || !changed || !slices.Equal(c.offered("blue", blocks), blocks[1:]) {
			t.Errorf("at first: over %v, changed %v, offered %v", over, changed, c.offered("blue", blocks))
		}
		time.Sleep(time.Minute)
		if over, changed = c.drain("blue", blocks, time.Minute); !slices.Equal(over, blocks[:1]) || !changed {
			t.Errorf("after a minute: over %v, changed %v", over, changed)
		}
		c.touch("blue")
		if !slices.Equal(c.offered("blue", blocks), blocks) {
			t.Errorf("asked for again: offered %v", c.offered("blue", blocks))
		}
	})
}

// A block is not given back while the plugin's document offers it, as it does for as long as the disk is full.
func TestDrainOfWhatIsOffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache()
		snap, _, _ := blueView().describe(blue())
		c.remember(map[string]snapshot{"blue": snap})
		own := snap.own().Blocks
		for range 3 {
			if over, _ := c.drain("blue", own, time.Minute); len(over) > 0 {
				t.Errorf("%v are given back, and still offered", over)
			}
			time.Sleep(time.Hour)
		}
		c.wrote(snap, nil)
		if over, _ := c.drain("blue", own, time.Minute); len(over) > 0 {
			t.Errorf("%v are given back at once: an ADD may have read the document before", over)
		}
		time.Sleep(time.Minute)
		if over, _ := c.drain("blue", own, time.Minute); !slices.Equal(over, own) {
			t.Errorf("after a minute: %v are given back, want %v", over, own)
		}
	})
}

// A host that hears nothing while the store settles cannot know what others have claimed again meanwhile.
func TestSettlesWhenItHears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache()
		c.setFollows(true)
		c.wentBack()
		c.claimedAgain()
		c.setFollows(false)
		time.Sleep(2 * registry.SettleFor)
		if c.settlesIn() <= 0 {
			t.Error("it has settled, and has heard nothing")
		}
		c.setFollows(true)
		c.claimedAgain()
		time.Sleep(registry.SettleFor)
		if c.settlesIn() > 0 {
			t.Error("it has not settled")
		}
		c.setFollows(false)
		if c.settlesIn() > 0 {
			t.Error("it settles for no reason")
		}
	})
}

// A host that cannot write what the store has lost of others keeps it until it can.
func TestSettlesWhenItHasWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache()
		c.postponed()
		if c.settlesIn() > 0 {
			t.Error("it settles for no reason")
		}
		c.wentBack()
		c.claimedAgain()
		time.Sleep(registry.SettleFor / 2)
		c.postponed()
		time.Sleep(registry.SettleFor)
		if c.settlesIn() <= 0 {
			t.Error("it has settled, and could not write")
		}
		c.claimedAgain()
		time.Sleep(registry.SettleFor)
		if c.settlesIn() > 0 {
			t.Error("it has not settled")
		}
	})
}

// A store that goes back twice has lost again what was found in between.
func TestFoundInTheStoreAsItIs(t *testing.T) {
	c := newCache()
	snap, _, _ := blueView().describe(blue())
	c.remember(map[string]snapshot{"blue": snap})
	c.setState(registry.State{Networks: map[string]*registry.Network{"blue": blue()}})
	c.wentBack()
	c.setLost()
	if c.found("blue", false) || !c.isLost("blue") {
		t.Error("found in the store before")
	}
	c.setState(registry.State{})
	if c.found("blue", false) || !c.isLost("blue") {
		t.Error("found in a store that does not have it")
	}
	c.setState(registry.State{Networks: map[string]*registry.Network{"blue": blue()}})
	if !c.found("blue", false) || c.isLost("blue") {
		t.Error("not found where it is")
	}
}

// What was learned while the store settled is not forgotten when it goes back again.
func TestWentBackTwice(t *testing.T) {
	c, n := newCache(), blue()
	snap, _, _ := blueView().describe(n)
	c.remember(map[string]snapshot{"blue": snap})
	c.wentBack()
	n.Members["late"] = registry.Member{VTEP: addr("192.0.2.99")}
	later, _, _ := blueView().describe(n)
	c.setSnapshot(later)
	c.wentBack()
	if got := c.lastSeen()["blue"]; !got.equal(later) {
		t.Errorf("it knows %+v, want %+v", got.hosts, later.hosts)
	}
	c.setSnapshot(outside(later.definition, later.created, later.hosts.Self))
	c.wentBack()
	if got := c.lastSeen()["blue"]; !got.equal(later) {
		t.Errorf("outside for a while, it knows %+v, want %+v", got.hosts, later.hosts)
	}
}
