package overlay

// A host replaces its key without losing a packet by two devices. Each of two hosts that have to do with it has, beside its device,
// a spare one, on which the one that replaces has its next key already:
//
//	the first device      old key ─────────────┐   next key ─────────────────────────
//	the spare device           next key ───────────────────────────┐
//	routes                first   │ spare          │       first   │
//	                           Leaving         Returning        Settled
//
// Either host moves its own routes when it has seen a handshake on the device they are to lead to, and both devices take what the
// other sends meanwhile. The one that replaces goes on when nothing comes by what it is about to end.

// Lane says through which device packets between two hosts are to go.
type Lane int

const (
	// Settled is the first device, and there is no spare one.
	Settled Lane = iota
	// Leaving is the spare device, as soon as it has had a handshake: a host is about to replace its key on the first.
	Leaving
	// Returning is the first device, as soon as it has had a handshake: it has the new keys.
	Returning
)

// LaneOf is the lane of two hosts.
func LaneOf(a, b Peer) Lane {
	switch {
	case a.leaves() || b.leaves():
		return Leaving
	case a.Replaces() || b.Replaces():
		return Returning
	}
	return Settled
}

// BySpare says whether packets from a host to another go by the spare device, by whether either device has had a handshake with the keys that
// the two have now.
func BySpare(own, other Peer, metFirst, metSpare bool) bool {
	switch LaneOf(own, other) {
	case Leaving:
		return metSpare
	case Returning:
		return !metFirst
	}
	return false
}

// Begins says whether a host begins the session with another by the device that packets are to go by, and keeps it awake until all is over:
// one of two, as WireGuard in a process (wireguard-go) may end with a session that one direction alone goes by, for two minutes, when both
// begin at the same moment.
func Begins(own, other Peer) bool { return own.VTEP.Less(other.VTEP) }

// Replaces says whether a host replaces its key.
func (p Peer) Replaces() bool { return !p.NextKey.IsZero() }

// leaves says whether the first device has the old key.
func (p Peer) leaves() bool { return p.Replaces() && p.NextKey != p.Key }

// LastKey is the key of a host on spare devices.
func (p Peer) LastKey() Key {
	if p.Replaces() {
		return p.NextKey
	}
	return p.Key
}
