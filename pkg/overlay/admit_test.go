package overlay

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// Whatever others have written, what is admitted is what Check accepts, and entries that nothing is wrong with stay.
func TestAdmitIsWhatCheckAccepts(t *testing.T) {
	n := Network{Name: "blue", VNI: 4096, Port: DefaultPort, Subnets: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16"), netip.MustParsePrefix("fd42::/64")}}
	vteps := []string{"192.0.2.11", "192.0.2.12", "192.0.2.13", "127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "2001:db8::1", "fe80::1%eth0", "fe80::1", "::ffff:192.0.2.14", "10.42.7.7", "fd42::7"}
	blocks := []string{"10.42.0.0/26", "10.42.0.64/26", "10.42.0.0/24", "10.42.0.7/26", "10.99.0.0/24", "10.42.1.0/31", "10.42.1.1/32", "10.42.0.0/16", "10.0.0.0/8",
		"fd42::/80", "fd42::1:0:0:0/80", "fd43::/80", "fd42::/127"}
	pins := []string{"10.42.0.1", "10.42.9.9", "1.2.3.4", "fd42::9", "fd43::9"}
	for seed := range uint64(5000) {
		r := rand.New(rand.NewPCG(seed, 1))
		h := Hosts{Self: netip.MustParseAddr("192.0.2.1")}
		good := Peer{Node: "good", VTEP: netip.MustParseAddr("192.0.2.200"), Blocks: []netip.Prefix{netip.MustParsePrefix("10.42.200.0/26")}}
		self := Peer{Node: "self", VTEP: h.Self, Blocks: []netip.Prefix{netip.MustParsePrefix("10.42.100.0/26")}}
		for i := range r.IntN(6) {
			p := Peer{Node: fmt.Sprint("n", i)}
			if r.IntN(8) > 0 {
				p.VTEP = netip.MustParseAddr(vteps[r.IntN(len(vteps))])
			}
			if r.IntN(10) == 0 {
				p.VTEP = h.Self
			}
			for range r.IntN(4) {
				p.Blocks = append(p.Blocks, netip.MustParsePrefix(blocks[r.IntN(len(blocks))]))
			}
			h.Peers = append(h.Peers, p)
		}
		h.Peers = slices.Insert(h.Peers, r.IntN(len(h.Peers)+1), good)
		h.Peers = append([]Peer{self}, h.Peers...)
		for range r.IntN(4) {
			h.Pins = append(h.Pins, Pin{netip.MustParseAddr(pins[r.IntN(len(pins))]), h.Peers[r.IntN(len(h.Peers))].VTEP})
		}
		n := n
		admitted, faults := n.Admit(h)
		if err := n.Check(admitted); err != nil {
			t.Fatalf("seed %d: admitted what Check refuses: %v\n%+v", seed, err, h)
		}
		own, err := admitted.Own(nil)
		if err != nil || !slices.Equal(own.Blocks, self.Blocks) && !anyOverlap(h, self) {
			t.Fatalf("seed %d: own entry %+v, %v", seed, own, err)
		}
		if !anyOverlap(h, good) && !slices.ContainsFunc(admitted.Peers, func(p Peer) bool { return p.Node == "good" && slices.Equal(p.Blocks, good.Blocks) }) {
			t.Fatalf("seed %d: the good peer is missing: %+v", seed, admitted)
		}
		if count(admitted) < count(h) && len(faults) == 0 {
			t.Fatalf("seed %d: left out without a word", seed)
		}
		again, faults := n.Admit(admitted)
		if len(faults) > 0 || count(again) != count(admitted) {
			t.Fatalf("seed %d: what was admitted is refused the second time: %v", seed, faults)
		}
	}
}

// anyOverlap says whether another host claims a part of a host's blocks.
func anyOverlap(h Hosts, p Peer) bool {
	for _, other := range h.Peers {
		if other.Node == p.Node {
			continue
		}
		for _, b := range other.Blocks {
			if slices.ContainsFunc(p.Blocks, b.Overlaps) {
				return true
			}
		}
	}
	return false
}

// count is entries of all kinds.
func count(h Hosts) int {
	total := len(h.Peers) + len(h.Pins)
	for _, p := range h.Peers {
		total += len(p.Blocks)
	}
	return total
}

func TestAdmitNamesWhatItLeavesOut(t *testing.T) {
	n := Network{Name: "blue", VNI: 4096, Port: DefaultPort, Subnets: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16")}}
	peer := func(node, vtep string, blocks ...string) Peer {
		p := Peer{Node: node, VTEP: netip.MustParseAddr(vtep)}
		for _, b := range blocks {
			p.Blocks = append(p.Blocks, netip.MustParsePrefix(b))
		}
		return p
	}
	self := peer("a", "192.0.2.1", "10.42.0.0/26")
	for _, test := range []struct {
		name string
		peer Peer
		want string
	}{
		{"loopback", peer("b", "127.0.0.1"), "host b: other hosts cannot send to address 127.0.0.1: give the host's address on the underlay"},
		{"family", peer("b", "2001:db8::1"), "host b: its address 2001:db8::1 is of another family than 192.0.2.1: give all hosts addresses of one family"},
		{"this host's address", peer("b", "192.0.2.1"), "host b: it has this host's address 192.0.2.1, too: give each host its own"},
		{"outside", peer("b", "192.0.2.2", "10.43.0.0/26"), "block 10.43.0.0/26 of host b: outside the network's 10.42.0.0/16: give a part of it"},
		{"overlap", peer("b", "192.0.2.2", "10.42.0.0/24"), "block 10.42.0.0/24 of host b: it overlaps 10.42.0.0/26 of host a: one of the two has to give it up"},
	} {
		_, faults := n.Admit(Hosts{Self: self.VTEP, Peers: []Peer{test.peer, self}})
		if test.name == "this host's address" {
			_, faults = n.Admit(Hosts{Self: self.VTEP, Peers: []Peer{self, test.peer}})
		}
		if len(faults) != 1 || faults[0].String() != test.want {
			t.Errorf("%s: left out %v, want %q", test.name, faults, test.want)
		}
	}
}
