package hostlocal

import (
	"encoding/binary"
	"iter"
	"math"
	"net/netip"
	"slices"
	"strings"
)

// Range is one stretch of addresses of a subnet, both ends included.
type Range struct {
	Subnet  netip.Prefix // no host bits
	Start   netip.Addr
	End     netip.Addr
	Gateway netip.Addr // never handed out; zero: none, in a subnet of one address. It may lie outside the subnet
}

// String gives the ends of the range.
func (r Range) String() string {
	return r.Start.String() + "-" + r.End.String()
}

func (r Range) contains(a netip.Addr) bool {
	return a.BitLen() == r.Start.BitLen() && r.Start.Compare(a) <= 0 && a.Compare(r.End) <= 0
}

func (r Range) overlaps(other Range) bool {
	return r.contains(other.Start) || other.contains(r.Start)
}

// size counts the addresses of the range, its gateway included. It stops at
// MaxUint64, far above what a directory holds.
func (r Range) size() uint64 {
	start, end := r.Start.As16(), r.End.As16()
	high := binary.BigEndian.Uint64(end[:8]) - binary.BigEndian.Uint64(start[:8])
	low := binary.BigEndian.Uint64(end[8:]) - binary.BigEndian.Uint64(start[8:])
	if binary.BigEndian.Uint64(end[8:]) < binary.BigEndian.Uint64(start[8:]) {
		high--
	}
	if high > 0 || low == math.MaxUint64 {
		return math.MaxUint64
	}
	return low + 1
}

// RangeSet is a list of ranges of one address family that are used as one.
type RangeSet []Range

// String gives the ends of each range.
func (s RangeSet) String() string {
	names := make([]string, len(s))
	for i, r := range s {
		names[i] = r.String()
	}
	return strings.Join(names, ",")
}

// find returns the range of an address; ok is false if the set has none.
func (s RangeSet) find(a netip.Addr) (r Range, ok bool) {
	for _, r := range s {
		if r.contains(a) {
			return r, true
		}
	}
	return Range{}, false
}

// size counts the addresses that can be handed out, at most MaxUint64.
func (s RangeSet) size(gateways []netip.Addr) uint64 {
	var n uint64
	for _, r := range s {
		if n += r.size(); n < r.size() {
			return math.MaxUint64
		}
	}
	for _, gateway := range unique(gateways) {
		if _, ok := s.find(gateway); ok {
			n--
		}
	}
	return n
}

// gateways are those of all ranges. None of them may go to a container, by whatever range set.
func (c Config) gateways() []netip.Addr {
	var all []netip.Addr
	for _, set := range c.Ranges {
		for _, r := range set {
			if r.Gateway.IsValid() {
				all = append(all, r.Gateway)
			}
		}
	}
	return all
}

// after yields each address of the set once, but for the exceptions, beginning behind last, as
// upstream's round robin does: an address that was just released rests until
// all others have had their turn. If last is none of the set, it begins at the
// first address.
func (s RangeSet) after(last netip.Addr, except []netip.Addr) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		first := s.next(last)
		for a := first; ; {
			if !slices.Contains(except, a) && !yield(a) {
				return
			}
			if a = s.next(a); a == first {
				return
			}
		}
	}
}

func (s RangeSet) next(a netip.Addr) netip.Addr {
	for i, r := range s {
		if !r.contains(a) {
			continue
		}
		if a == r.End {
			return s[(i+1)%len(s)].Start
		}
		return a.Next()
	}
	return s[0].Start
}
