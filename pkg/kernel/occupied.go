package kernel

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// Occupies says whether a route shows that a subnet, or a part of it, is in use. A default route does not, nor does a wider
// route that only says which way to go (Onward): a subnet may be carved out of it.
func (r RouteEntry) Occupies(subnet netip.Prefix, pointToPoint bool) bool {
	if r.Dst.Bits() == 0 || !r.Dst.Overlaps(subnet) {
		return false
	}
	return r.Dst.Bits() >= subnet.Bits() || !r.Onward(pointToPoint)
}

// Onward says whether a route only says which way to go for whatever no other route knows: through a next hop, through a link
// that has no neighbours (pointToPoint: a tunnel), or nowhere. Such are the halves of the Internet that a VPN takes, a site's
// 10.0.0.0/8, and unreachable private ranges (RFC 1918). What the kernel has made from an address is a subnet that is there.
func (r RouteEntry) Onward(pointToPoint bool) bool {
	return r.Protocol != unix.RTPROT_KERNEL && (r.Type != unix.RTN_UNICAST || r.Via.IsValid() || pointToPoint)
}
