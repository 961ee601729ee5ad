package kernel

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// Occupies says whether a route shows that a subnet, or a part of it, is in use. A default route does not, nor does a wider
// route that only says which way to go for whatever no other route knows: through a next hop, through a link that has no
// neighbours (pointToPoint: a tunnel), or nowhere. Such are the halves of the Internet that a VPN takes, a site's 10.0.0.0/8,
// and unreachable private ranges (RFC 1918): a subnet may be carved out of them. What the kernel has made from an address is
// a subnet that is there.
func (r RouteEntry) Occupies(subnet netip.Prefix, pointToPoint bool) bool {
	if r.Dst.Bits() == 0 || !r.Dst.Overlaps(subnet) {
		return false
	}
	wider := r.Dst.Bits() < subnet.Bits()
	onward := r.Type != unix.RTN_UNICAST || r.Via.IsValid() || pointToPoint
	return !wider || !onward || r.Protocol == unix.RTPROT_KERNEL
}
