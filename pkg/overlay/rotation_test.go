package overlay

import "testing"

// TestLaneOf: two hosts agree on the way between them, whichever of them replaces its key, and a step of one that the other does not
// know yet leads to a way that both have.
func TestLaneOf(t *testing.T) {
	settled, leaving, returning := Peer{Key: Key{1}}, Peer{Key: Key{1}, NextKey: Key{2}}, Peer{Key: Key{2}, NextKey: Key{2}}
	for _, c := range []struct {
		name string
		a, b Peer
		want Lane
	}{
		{"neither", settled, settled, Settled},
		{"one begins", leaving, settled, Leaving},
		{"one has the key on both", returning, settled, Returning},
		{"both begin", leaving, leaving, Leaving},
		{"one is behind", leaving, returning, Leaving},
		{"both have theirs on both", returning, returning, Returning},
	} {
		if got := LaneOf(c.a, c.b); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if got := LaneOf(c.b, c.a); got != c.want {
			t.Errorf("%s, as the other sees it: %v, want %v", c.name, got, c.want)
		}
	}
	if settled.LastKey() != (Key{1}) || leaving.LastKey() != (Key{2}) || returning.LastKey() != (Key{2}) {
		t.Errorf("keys on spare devices: %v, %v, %v", settled.LastKey(), leaving.LastKey(), returning.LastKey())
	}
}

func TestSparePort(t *testing.T) {
	for port, want := range map[uint16]uint16{DefaultWireguardPort: 55936, 1: 4097, 61439: 65535, 61440: 57344, 65535: 61439} {
		if got := SparePort(port); got != want {
			t.Errorf("of %d: %d, want %d", port, got, want)
		}
	}
}
