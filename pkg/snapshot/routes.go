package snapshot

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// readRoutes lists the routes of the table main, each next hop on its own, the preferred route to a destination first.
func readRoutes(n *kernel.Namespace) ([]Route, error) {
	routes, err := kernel.Dump(func() (routes []Route, err error) {
		err = n.EachHop(func(r kernel.RouteEntry) { routes = append(routes, describeRoute(r)) })
		return routes, err
	})
	slices.SortStableFunc(routes, compareRoutes)
	return routes, err
}

func compareRoutes(a, b Route) int {
	return cmp.Or(
		a.Dst.Addr().Compare(b.Dst.Addr()), cmp.Compare(a.Dst.Bits(), b.Dst.Bits()),
		cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Link, b.Link), a.Via.Compare(b.Via))
}

func describeRoute(found kernel.RouteEntry) Route {
	r := Route{
		Dst: found.Dst, Via: known(found.Via), Link: found.Link, Kind: routeKinds[int(found.Type)],
		Protocol: int(found.Protocol), Priority: int(found.Metric),
	}
	if r.Kind == "" {
		r.Kind = "other"
	}
	if r.Kind != "unicast" {
		r.Link = 0 // the kernel names lo for IPv6
	}
	return r
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
