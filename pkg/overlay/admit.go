package overlay

import (
	"fmt"
	"net/netip"
	"slices"
)

// Fault is an entry of a list of hosts that is left out, and why.
type Fault struct {
	// Entry names it: a host, a block or a pin.
	Entry string
	// Reason says what is wrong with it.
	Reason string
}

func (f Fault) String() string { return f.Entry + ": " + f.Reason }

// CheckVTEP says whether an address means the same host to all others. Errors are ErrConfig.
func CheckVTEP(addr netip.Addr) error {
	switch {
	case !addr.IsValid(), addr.IsUnspecified(), addr.IsMulticast(), addr.IsLoopback(), addr.Zone() != "", addr.Is4In6(),
		addr.Is6() && addr.IsLinkLocalUnicast(), addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return invalidf("other hosts cannot send to address %s: give the host's address on the underlay", addr)
	}
	return nil
}

// Admit leaves out of a list of hosts what Check would refuse, each entry for itself: others wrote them, and one that is
// wrong must not take the rest along. Where two cannot both be, that of Self stays, or else the first.
func (n Network) Admit(h Hosts) (Hosts, []Fault) {
	a := admission{network: n, vteps: make(map[netip.Addr]int)}
	admitted := Hosts{Self: h.Self, Peers: a.peers(h)}
	a.blocks(admitted)
	admitted.Pins = a.pins(h.Pins, admitted)
	return admitted, a.faults
}

type admission struct {
	network Network
	vteps   map[netip.Addr]int // index of the peer
	faults  []Fault
}

func (a *admission) refuse(entry, format string, args ...any) {
	a.faults = append(a.faults, Fault{entry, fmt.Sprintf(format, args...)})
}

// peers are those with an address of the family of Self. Of two at one address the second is refused and its blocks with it.
func (a *admission) peers(h Hosts) []Peer {
	family := h.Self
	self := slices.IndexFunc(h.Peers, func(p Peer) bool { return p.VTEP == h.Self })
	keys := make(map[Key]string)
	if self >= 0 && !h.Peers[self].Key.IsZero() {
		keys[h.Peers[self].Key] = h.Peers[self].Node
	}
	peers := make([]Peer, 0, len(h.Peers))
	for i, p := range h.Peers {
		name := "host " + p.Node
		if err := CheckVTEP(p.VTEP); err != nil {
			a.refuse(name, "%v", err)
			continue
		}
		if !family.IsValid() {
			family = p.VTEP
		}
		if p.VTEP.Is4() != family.Is4() {
			a.refuse(name, "its address %s is of another family than %s: give all hosts addresses of one family", p.VTEP, family)
			continue
		}
		if a.network.contains(netip.PrefixFrom(p.VTEP, p.VTEP.BitLen())) {
			a.refuse(name, "its address %s lies inside the network's %s: the way to it would lead through itself", p.VTEP, join(a.network.Subnets))
			continue
		}
		if p.VTEP == h.Self && i != self {
			a.refuse(name, "it has this host's address %s, too: give each host its own", p.VTEP)
			continue
		}
		if other, dup := a.vteps[p.VTEP]; dup {
			a.refuse(name, "it has the address %s of host %s, too: give each host its own", p.VTEP, peers[other].Node)
			continue
		}
		if other, dup := keys[p.Key]; dup && i != self && !p.Key.IsZero() {
			a.refuse(name, "it has the public key of host %s, too: delete its key file, so that it makes its own", other)
			p.Key, p.NextKey = Key{}, Key{} // it is not reached, and its blocks are nobody else's
		} else {
			keys[p.Key] = p.Node
		}
		a.vteps[p.VTEP] = len(peers)
		peers = append(peers, p)
	}
	return peers
}

// blocks keeps of each peer those that are parts of the network and overlap no other.
func (a *admission) blocks(h Hosts) {
	all := make([]placed, 0, len(h.Peers))
	for i, p := range h.Peers {
		for j, b := range p.Blocks {
			if err := a.network.checkBlock(b); err != nil {
				a.refuse(fmt.Sprintf("block %s of host %s", b, p.Node), "%v", err)
				continue
			}
			all = append(all, placed{b, i, j})
		}
	}
	sortPlaced(all)
	kept := all[:0]
	for _, p := range all {
		last := len(kept) - 1
		switch {
		case last < 0 || !kept[last].Overlaps(p.Prefix):
			kept = append(kept, p)
		case h.Peers[p.peer].VTEP == h.Self && h.Peers[kept[last].peer].VTEP != h.Self:
			a.overlap(h, kept[last], p)
			kept[last] = p
		default:
			a.overlap(h, p, kept[last])
		}
	}
	slices.SortFunc(kept, func(x, y placed) int { // as they came
		if x.peer != y.peer {
			return x.peer - y.peer
		}
		return x.block - y.block
	})
	for i, from := 0, 0; i < len(h.Peers); i++ {
		to := from
		for to < len(kept) && kept[to].peer == i {
			to++
		}
		if to-from == len(h.Peers[i].Blocks) {
			from = to
			continue // as it was
		}
		var blocks []netip.Prefix
		for ; from < to; from++ {
			blocks = append(blocks, kept[from].Prefix)
		}
		h.Peers[i].Blocks = blocks
	}
}

func (a *admission) overlap(h Hosts, refused, kept placed) {
	a.refuse(fmt.Sprintf("block %s of host %s", refused.Prefix, h.Peers[refused.peer].Node), "it overlaps %s of host %s: one of the two has to give it up",
		kept.Prefix, h.Peers[kept.peer].Node)
}

// pins are those of peers, each address once, outside of other peers' blocks: a block is all of its owner's.
func (a *admission) pins(pins []Pin, h Hosts) []Pin {
	var owners []placed
	for i, p := range h.Peers {
		for j, b := range p.Blocks {
			owners = append(owners, placed{b, i, j})
		}
	}
	sortPlaced(owners)
	seen, kept := make(map[netip.Addr]bool, len(pins)), make([]Pin, 0, len(pins))
	for _, p := range pins {
		entry := fmt.Sprintf("pin %s of the host at %s", p.Address, p.VTEP)
		_, known := a.vteps[p.VTEP]
		owner, owned := ownerOf(owners, p.Address)
		switch {
		case !p.Address.IsValid() || !a.network.contains(netip.PrefixFrom(p.Address, p.Address.BitLen())):
			a.refuse(entry, "it lies outside the network's %s", join(a.network.Subnets))
		case !known:
			a.refuse(entry, "that is no host of the network")
		case seen[p.Address]:
			a.refuse(entry, "the address is pinned twice")
		case owned && h.Peers[owner].VTEP != p.VTEP:
			a.refuse(entry, "it lies in a block of host %s", h.Peers[owner].Node)
		default:
			seen[p.Address] = true
			kept = append(kept, p)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return kept
}

// ownerOf finds the peer in whose block an address lies, of blocks that are sorted and do not overlap.
func ownerOf(sorted []placed, addr netip.Addr) (peer int, ok bool) {
	i, _ := slices.BinarySearchFunc(sorted, addr, func(p placed, addr netip.Addr) int {
		if p.Addr().Compare(addr) <= 0 {
			return -1
		}
		return 1
	})
	if i == 0 || !sorted[i-1].Contains(addr) {
		return 0, false
	}
	return sorted[i-1].peer, true
}
