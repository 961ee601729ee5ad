package kernel

import (
	"net"

	"github.com/vishvananda/netlink"
)

// outsides are addresses reserved for documentation (RFC 5737, RFC 3849): no host has them, so the route to them is the
// one to the outside world. Asking for a route sends nothing and costs the same however many routes there are.
var outsides = [...]string{"203.0.113.1", "2001:db8::1"}

// Exits are the routes that packets to the outside world take: IPv4's, then IPv6's, as far as there are any.
func (n *Namespace) Exits() []netlink.Route {
	var exits []netlink.Route
	for _, outside := range outsides {
		routes, err := n.RouteGet(net.ParseIP(outside))
		if err == nil && len(routes) > 0 && routes[0].LinkIndex != 0 {
			exits = append(exits, routes[0])
		}
	}
	return exits
}

// Uplink is the link towards the outside world, or nil when there is none.
func (n *Namespace) Uplink() netlink.Link {
	for _, exit := range n.Exits() {
		if link, err := n.LinkByIndex(exit.LinkIndex); err == nil {
			return link
		}
	}
	return nil
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
