package agent

import (
	"maps"
	"time"

	"github.com/fairway-cni/fairway/pkg/registry"
)

// What the cache knows of a store that went back, and of this host when others may have taken its blocks.

// wentBack takes that the store did. What this host has by then is what it knows of others; when it goes back again before it has
// settled, that is what it knew the first time and has learned since.
func (c *cache) wentBack() {
	c.with(func() {
		if time.Now().After(c.settled) {
			c.before = nil
		}
		before := maps.Clone(c.snapshots)
		for name, snap := range c.before {
			if now, there := before[name]; !there || !now.member() || !now.definition.Same(snap.definition) {
				before[name] = snap
			}
		}
		c.before = before
		c.settled, c.read, c.unsettled = time.Now().Add(registry.SettleFor), nil, true
	})
}

// claimedAgain takes that this host has written all that the store had lost of it. As long as it cannot, others cannot either.
func (c *cache) claimedAgain() {
	c.with(func() {
		if c.unsettled {
			c.unsettled, c.settled = false, time.Now().Add(registry.SettleFor)
		}
	})
}

// postponed takes that this host could not write what the store had lost of others. Then they, who may be cut off, do not find it
// there either: the time to settle begins when it can.
func (c *cache) postponed() {
	c.with(func() { c.unsettled = c.unsettled || time.Now().Before(c.settled) })
}

// lapse notes that others may have taken this host's blocks, and endLapse that it knows which it has.
func (c *cache) lapse()              { c.with(func() { c.lapsed = true }) }
func (c *cache) endLapse()           { c.with(func() { c.lapsed = false }) }
func (c *cache) isLapsed() (is bool) { c.with(func() { is = c.lapsed }); return is }

// calmAfter is how long others have to claim again what they have, themselves or by those who know of it, before a host does that may
// have lost its blocks to them: less than others keep the way to its containers. Whether the store went back, they find out within
// vouchAfter.
const calmAfter = registry.SettleFor / 2

// calm says whether a host that has lapsed knows by now which blocks are still its own.
func (c *cache) calm() (is bool) {
	c.with(func() { is = c.read != nil && c.follows && c.linked && time.Since(c.since) > vouchAfter })
	return is && c.settlesIn() < registry.SettleFor-calmAfter
}

// settlesIn is for how long what the store has lost is kept still.
func (c *cache) settlesIn() (d time.Duration) {
	c.with(func() {
		if d = time.Until(c.settled); c.unsettled {
			d = max(d, registry.SettleFor)
		}
	})
	return d
}

// lastSeen is what this host had of the networks that it is a member of when the store went back.
func (c *cache) lastSeen() map[string]snapshot {
	all := make(map[string]snapshot)
	c.with(func() {
		for name, snap := range c.before {
			if snap.member() {
				all[name] = snap
			}
		}
	})
	return all
}

// setLost marks networks that the store has lost.
func (c *cache) setLost() {
	c.with(func() {
		for name := range c.snapshots {
			c.lost[name] = true
		}
	})
}

// lacks says whether the store has not again all networks that it has lost.
func (c *cache) lacks() (does bool) { c.with(func() { does = len(c.lost) > 0 }); return does }

// found notes that the store has again a network that it had lost, or does not need it. It says whether the store still shows it so:
// it may have gone back again since the caller looked.
func (c *cache) found(name string, absent bool) (is bool) {
	c.with(func() {
		if is = c.read != nil && c.read.Networks[name].Absent() == absent; is {
			delete(c.lost, name)
		}
	})
	return is
}
