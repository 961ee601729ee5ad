// Package pools chooses the subnet of a network for which none was given: the next of Docker's pools that is clear of
// everything the host has to do with already. It reads the host's links, addresses, routes and nameservers, and changes
// nothing; reading needs no privilege.
package pools

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
)

// ErrExhausted says that each pool overlaps something.
var ErrExhausted = errors.New("all predefined address pools are taken")

// Taken is a prefix that a new subnet must not overlap.
type Taken struct {
	Prefix netip.Prefix
	// By says who has it, as the end of a sentence: "network web", "the route 10.0.0.0/8 dev eth0".
	By string
	// Link of the host whose address or route it is. Empty: none.
	Link string
	// Onward is a route that only says which way to go (kernel.RouteEntry.Onward): a subnet that is narrower may be carved out of it.
	Onward bool
}

// Overlap finds what a subnet overlaps that is in use, as kernel.RouteEntry.Occupies has it. Nil: nothing.
func Overlap(subnet netip.Prefix, taken []Taken) *Taken {
	for i, t := range taken {
		if t.Prefix.Overlaps(subnet) && !(t.Onward && t.Prefix.Bits() < subnet.Bits()) {
			return &taken[i]
		}
	}
	return nil
}

// Next4 is the next free IPv4 subnet in the order of Docker's local pools: 172.17.0.0/16 to 172.31.0.0/16, then
// 192.168.0.0/16 in steps of a /20. The error is ErrExhausted.
func Next4(taken []Taken) (netip.Prefix, error) {
	return next(docker4(), taken)
}

// First4 is the subnet that is wanted, or the next free one as of Next4 where the host has to do with that.
func First4(wanted netip.Prefix, taken []Taken) (netip.Prefix, error) {
	return next(func(yield func(netip.Prefix) bool) {
		if yield(wanted) {
			docker4()(yield)
		}
	}, taken)
}

func docker4() iter.Seq[netip.Prefix] {
	return func(yield func(netip.Prefix) bool) {
		for second := 17; second <= 31; second++ {
			if !yield(netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(second)}), 16)) {
				return
			}
		}
		for third := 0; third < 256; third += 16 {
			if !yield(netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(third)}), 20)) {
				return
			}
		}
	}
}

// Next6 is the next free /64 of the host's own /48: a unique local address (RFC 4193) whose global ID is a hash of the
// host's identity, so that it stays the same, and that of another host is another. The error is ErrExhausted.
func Next6(identity string, taken []Taken) (netip.Prefix, error) {
	return next(local6(identity), taken)
}

func local6(identity string) iter.Seq[netip.Prefix] {
	hash := sha256.Sum256([]byte("fairway ula " + identity))
	return func(yield func(netip.Prefix) bool) {
		var addr [16]byte
		addr[0] = 0xfd
		copy(addr[1:6], hash[:])
		for subnet := range 1 << 16 {
			addr[6], addr[7] = byte(subnet>>8), byte(subnet)
			if !yield(netip.PrefixFrom(netip.AddrFrom16(addr), 64)) {
				return
			}
		}
	}
}

// next prefers a subnet that no route leads to. Where a VPN takes all there is, one that may be carved out has to do.
func next(candidates iter.Seq[netip.Prefix], taken []Taken) (netip.Prefix, error) {
	second := netip.Prefix{}
	for candidate := range candidates {
		switch {
		case Overlap(candidate, taken) != nil:
		case !slices.ContainsFunc(taken, func(t Taken) bool { return t.Prefix.Overlaps(candidate) }):
			return candidate, nil
		case !second.IsValid():
			second = candidate
		}
	}
	if second.IsValid() {
		return second, nil
	}
	return netip.Prefix{}, fmt.Errorf("%w: give the network a subnet", ErrExhausted)
}
