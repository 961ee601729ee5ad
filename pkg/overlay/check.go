package overlay

import (
	"net/netip"
	"slices"
)

// Check says whether the hosts can be those of a network: VTEPs of one family, each once and outside the network, blocks and pins inside the
// network's subnets, and none that overlaps another. Errors are ErrConfig.
func (n Network) Check(h Hosts) error {
	if err := n.checkVTEPs(h.Peers); err != nil {
		return err
	}
	if err := checkKeys(h.Peers); err != nil {
		return err
	}
	if err := n.checkBlocks(h.Peers); err != nil {
		return err
	}
	return n.checkPins(h)
}

// checkKeys refuses a key that two hosts have: WireGuard tells its peers by their keys.
func checkKeys(peers []Peer) error {
	seen := make(map[Key]int)
	for i, p := range peers {
		if p.Key.IsZero() {
			continue
		}
		if other, dup := seen[p.Key]; dup {
			return invalidf("peers[%d].publicKey is that of peers[%d] too: make each host a key of its own", i, other)
		}
		seen[p.Key] = i
	}
	return nil
}

// checkVTEPs also refuses a VTEP inside the network: the way to it would lead through itself.
func (n Network) checkVTEPs(peers []Peer) error {
	seen := make(map[netip.Addr]int, len(peers))
	for i, p := range peers {
		key := func() string { return index("peers", i) + ".vtep" }
		if CheckVTEP(p.VTEP) != nil {
			return invalidf("%s is %s: give the host's address on the underlay", key(), p.VTEP)
		}
		if p.VTEP.Is4() != peers[0].VTEP.Is4() {
			return invalidf("%s is %s and peers[0].vtep is %s: give all hosts addresses of one family", key(), p.VTEP, peers[0].VTEP)
		}
		if n.contains(netip.PrefixFrom(p.VTEP, p.VTEP.BitLen())) {
			return invalidf("%s is %s, inside the network's %s: give the host's address on the underlay, or choose another subnet", key(), p.VTEP, join(n.Subnets))
		}
		if other, dup := seen[p.VTEP]; dup {
			return invalidf("%s is %s, which is that of peers[%d] too: give each host one entry with all its subnets", key(), p.VTEP, other)
		}
		seen[p.VTEP] = i
	}
	return nil
}

// placed is a block and where it is written.
type placed struct {
	netip.Prefix
	peer, block int
}

func (p placed) key() string { return index(index("peers", p.peer)+".subnets", p.block) }

// checkBlocks sorts the blocks: of two that overlap, one contains the other's first address, and no block lies between
// them that does not overlap either.
func (n Network) checkBlocks(peers []Peer) error {
	all := make([]placed, 0, len(peers))
	for i, p := range peers {
		for j, b := range p.Blocks {
			at := placed{b, i, j}
			if err := n.checkBlock(b); err != nil {
				return invalidf("%s is %s, %w", at.key(), b, err)
			}
			all = append(all, at)
		}
	}
	sortPlaced(all)
	for i := 1; i < len(all); i++ {
		if a, b := all[i-1], all[i]; a.Overlaps(b.Prefix) {
			return invalidf("%s is %s, which overlaps %s %s: give each host blocks of its own", b.key(), b.Prefix, a.key(), a.Prefix)
		}
	}
	return nil
}

// checkBlock says whether a prefix can be a host's part of the network.
func (n Network) checkBlock(b netip.Prefix) error {
	if !b.IsValid() || b != b.Masked() || !n.contains(b) {
		return invalidf("outside the network's %s: give a part of it", join(n.Subnets))
	}
	if longest := b.Addr().BitLen() - 2; b.Bits() > longest {
		return invalidf("too small for the host and its containers: give at least a /%d", longest)
	}
	return nil
}

// sortPlaced sorts blocks by their first address, and the larger first.
func sortPlaced(all []placed) {
	slices.SortStableFunc(all, func(a, b placed) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
}

// contains says whether one of the subnets contains the prefix.
func (n Network) contains(p netip.Prefix) bool {
	return slices.ContainsFunc(n.Subnets, func(s netip.Prefix) bool { return s.Bits() <= p.Bits() && s.Contains(p.Addr()) })
}

func (n Network) checkPins(h Hosts) error {
	if len(h.Pins) == 0 {
		return nil
	}
	known := make(map[netip.Addr]bool, len(h.Peers))
	for _, p := range h.Peers {
		known[p.VTEP] = true
	}
	seen := make(map[netip.Addr]int, len(h.Pins))
	for i, p := range h.Pins {
		key := index("pins", i)
		if !n.contains(netip.PrefixFrom(p.Address, p.Address.BitLen())) {
			return invalidf("%s.address is %s, outside the network's %s: give an address of it", key, p.Address, join(n.Subnets))
		}
		if !known[p.VTEP] {
			return invalidf("%s.vtep is %s, which is no peer's: name one of key peers", key, p.VTEP)
		}
		if other, dup := seen[p.Address]; dup {
			return invalidf("%s.address is %s, which is that of pins[%d] too: pin each address to one host", key, p.Address, other)
		}
		seen[p.Address] = i
	}
	return nil
}

// Own is this host's entry: that of Self, or else the one whose VTEP is among the host's addresses. The error is
// ErrConfig.
func (h Hosts) Own(local []netip.Addr) (Peer, error) {
	mine := func(p Peer) bool { return p.VTEP == h.Self }
	if !h.Self.IsValid() {
		set := make(map[netip.Addr]bool, len(local))
		for _, addr := range local {
			set[addr.Unmap()] = true
		}
		mine = func(p Peer) bool { return set[p.VTEP] }
	}
	i := slices.IndexFunc(h.Peers, mine)
	switch {
	case i < 0 && h.Self.IsValid():
		return Peer{}, invalidf("key self is %s, which is no peer's vtep: add an entry for this host to key peers", h.Self)
	case i < 0:
		return Peer{}, invalidf("no vtep of key peers is an address of this host: add an entry for it, or name its vtep in key self")
	}
	if j := slices.IndexFunc(h.Peers[i+1:], mine); j >= 0 {
		return Peer{}, invalidf("peers[%d].vtep and peers[%d].vtep are both addresses of this host: name the right one in key self", i, i+1+j)
	}
	return h.Peers[i], nil
}

func join(prefixes []netip.Prefix) string {
	text := ""
	for i, p := range prefixes {
		if i > 0 {
			text += " and "
		}
		text += p.String()
	}
	return text
}
