package snapshot

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// readRoutes lists the routes of the table main, each next hop on its own, the preferred route to a destination first.
func readRoutes(n *kernel.Namespace) ([]Route, error) {
	var routes []Route
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		found, err := kernel.Dump(func() ([]netlink.Route, error) { return n.RouteList(nil, family) })
		if err != nil {
			return nil, fmt.Errorf("ip route show: %w", err)
		}
		for _, r := range found {
			routes = append(routes, hops(r, family)...)
		}
	}
	slices.SortStableFunc(routes, compareRoutes)
	return routes, nil
}

func compareRoutes(a, b Route) int {
	return cmp.Or(
		a.Dst.Addr().Compare(b.Dst.Addr()), cmp.Compare(a.Dst.Bits(), b.Dst.Bits()),
		cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Link, b.Link), a.Via.Compare(b.Via))
}

// hops is a route as one of each next hop.
func hops(found netlink.Route, family int) []Route {
	r := Route{
		Via: addr(found.Gw), Link: found.LinkIndex, Kind: routeKinds[found.Type],
		Protocol: int(found.Protocol), Priority: found.Priority,
	}
	var ok bool
	if r.Dst, ok = prefix(found.Dst); !ok {
		r.Dst = netip.PrefixFrom(unspecified(family), lengthOf(found))
	}
	if r.Kind == "" {
		r.Kind = "other"
	}
	if r.Kind != "unicast" {
		r.Link = 0 // the kernel names lo for IPv6
	}
	if len(found.MultiPath) == 0 {
		return []Route{r}
	}
	var all []Route
	for _, hop := range found.MultiPath {
		r.Via, r.Link = addr(hop.Gw), hop.LinkIndex
		all = append(all, r)
	}
	return all
}

func unspecified(family int) netip.Addr {
	if family == netlink.FAMILY_V6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// lengthOf is the prefix length of a destination of zeros: 0.0.0.0/0 is the default route, 0.0.0.0/8 is not.
func lengthOf(r netlink.Route) int {
	if r.Dst == nil {
		return 0
	}
	bits, _ := r.Dst.Mask.Size()
	return bits
}

var routeKinds = map[int]string{
	unix.RTN_UNICAST: "unicast", unix.RTN_UNREACHABLE: "unreachable", unix.RTN_BLACKHOLE: "blackhole",
	unix.RTN_PROHIBIT: "prohibit", unix.RTN_LOCAL: "local", unix.RTN_BROADCAST: "broadcast", unix.RTN_MULTICAST: "multicast",
}

// readVXLAN adds the neighbours and the forwarding entries of a VXLAN device.
func (n *Namespace) readVXLAN(from *kernel.Namespace, l Link) error {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6, unix.AF_BRIDGE} {
		found, err := kernel.Dump(func() ([]netlink.Neigh, error) { return from.NeighList(l.Index, family) })
		if err != nil {
			return fmt.Errorf("ip neigh show: %w", err)
		}
		for _, e := range found {
			to := addr(e.IP)
			switch {
			case !to.IsValid() || len(e.HardwareAddr) == 0:
			case family == unix.AF_BRIDGE:
				n.Forwards = append(n.Forwards, Forward{Link: l.Index, MAC: e.HardwareAddr.String(), To: to})
			case e.State&(netlink.NUD_PERMANENT|netlink.NUD_REACHABLE|netlink.NUD_STALE) != 0:
				n.Neighbours = append(n.Neighbours, Neighbour{Link: l.Index, Addr: to, MAC: e.HardwareAddr.String()})
			}
		}
	}
	return nil
}
