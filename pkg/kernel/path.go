package kernel

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// outsides are addresses reserved for documentation (RFC 5737, RFC 3849): no host has them, so the route to them is the
// one to the outside world. Asking for a route sends nothing and costs the same however many routes there are.
var outsides = [...]netip.Addr{
	netip.AddrFrom4([4]byte{203, 0, 113, 1}), netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 1}),
}

// Exits are the routes that packets to the outside world take: IPv4's, then IPv6's, as far as there are any.
func (n *Namespace) Exits() []netlink.Route {
	var exits []netlink.Route
	for _, outside := range outsides {
		routes, err := n.RouteGet(outside)
		if err == nil && len(routes) > 0 && routes[0].LinkIndex != 0 {
			exits = append(exits, routes[0])
		}
	}
	return exits
}

// Uplink is the link towards the outside world, or nil when there is none.
func (n *Namespace) Uplink() netlink.Link {
	for _, outside := range outsides {
		if index := n.linkTowards(outside); index != 0 {
			if link, err := n.LinkAt(index); err == nil {
				return link
			}
		}
	}
	return nil
}

// linkTowards is the index of the link by which packets to an address go, 0 for none.
func (n *Namespace) linkTowards(to netip.Addr) int {
	request := make([]byte, unix.SizeofRtMsg)
	request[0], request[1] = familyOf(to), uint8(to.BitLen())
	objects, err := n.ask(Message{Kind: unix.RTM_GETROUTE, Body: appendAttribute(request, unix.RTA_DST, to.AsSlice())})
	if err != nil || len(objects) == 0 {
		return 0
	}
	link := attribute(objects[0][unix.SizeofRtMsg:], unix.RTA_OIF)
	if len(link) != 4 {
		return 0
	}
	return int(binary.NativeEndian.Uint32(link))
}

// PathMTU is the MTU of the link towards the outside world in bytes, or 0 when there is none. It is asked for once.
func (k *Kernel) PathMTU() int {
	if k.pathMTU == nil {
		mtu := 0
		if link := k.Host.Uplink(); link != nil && link.Attrs().Flags&net.FlagLoopback == 0 {
			mtu = link.Attrs().MTU
		}
		k.pathMTU = &mtu
	}
	return *k.pathMTU
}
