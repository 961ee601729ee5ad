package kernel

import (
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
)

// What the netlink library does for a namespace beside its links, as netlink.Handle documents it.

// AddrList lists the addresses of a link, or of all links.
func (n *Namespace) AddrList(link netlink.Link, family int) ([]netlink.Addr, error) {
	return byLibrary(n, func(h *netlink.Handle) ([]netlink.Addr, error) { return h.AddrList(link, family) })
}

// AddrDel deletes an address of a link.
func (n *Namespace) AddrDel(link netlink.Link, addr *netlink.Addr) error {
	return n.doByLibrary(func(h *netlink.Handle) error { return h.AddrDel(link, addr) })
}

// RouteList lists the routes of the main table.
func (n *Namespace) RouteList(link netlink.Link, family int) ([]netlink.Route, error) {
	return byLibrary(n, func(h *netlink.Handle) ([]netlink.Route, error) { return h.RouteList(link, family) })
}

// RouteListFiltered lists the routes that have what the mask names of a filter.
func (n *Namespace) RouteListFiltered(family int, filter *netlink.Route, mask uint64) ([]netlink.Route, error) {
	return byLibrary(n, func(h *netlink.Handle) ([]netlink.Route, error) { return h.RouteListFiltered(family, filter, mask) })
}

// RouteGet is the route that packets to an address take.
func (n *Namespace) RouteGet(to netip.Addr) ([]netlink.Route, error) {
	return byLibrary(n, func(h *netlink.Handle) ([]netlink.Route, error) { return h.RouteGet(to.AsSlice()) })
}

// RouteVia is the route that packets to an address take which come from another by a link, as the host's rules and routes have it. It fails as
// those packets would: also where the host does not forward, or its reverse-path filter is against it.
func (n *Namespace) RouteVia(to, from netip.Addr, in int) ([]netlink.Route, error) {
	return byLibrary(n, func(h *netlink.Handle) ([]netlink.Route, error) {
		return h.RouteGetWithOptions(to.AsSlice(), &netlink.RouteGetOptions{SrcAddr: from.AsSlice(), IifIndex: in})
	})
}

// RouteDel deletes a route.
func (n *Namespace) RouteDel(route *netlink.Route) error {
	return n.doByLibrary(func(h *netlink.Handle) error { return h.RouteDel(route) })
}

// RouteReplace adds a route, or puts it in the place of one to the destination with its metric.
func (n *Namespace) RouteReplace(route *netlink.Route) error {
	return n.doByLibrary(func(h *netlink.Handle) error { return h.RouteReplace(route) })
}

// RuleList lists the rules by which a table is chosen for a packet.
func (n *Namespace) RuleList(family int) ([]netlink.Rule, error) {
	return byLibrary(n, func(h *netlink.Handle) ([]netlink.Rule, error) { return h.RuleList(family) })
}

// RuleAdd adds such a rule.
func (n *Namespace) RuleAdd(rule *netlink.Rule) error {
	return n.doByLibrary(func(h *netlink.Handle) error { return h.RuleAdd(rule) })
}

// RuleDel deletes such a rule.
func (n *Namespace) RuleDel(rule *netlink.Rule) error {
	return n.doByLibrary(func(h *netlink.Handle) error { return h.RuleDel(rule) })
}

// NeighList lists the neighbours of a link.
func (n *Namespace) NeighList(link, family int) ([]netlink.Neigh, error) {
	return byLibrary(n, func(h *netlink.Handle) ([]netlink.Neigh, error) { return h.NeighList(link, family) })
}

// BridgeVlanList lists the VLANs of all ports of bridges, by the index of the port.
func (n *Namespace) BridgeVlanList() (map[int32][]*nl.BridgeVlanInfo, error) {
	return byLibrary(n, (*netlink.Handle).BridgeVlanList)
}

// BridgeVlanAdd brings a port into a VLAN.
func (n *Namespace) BridgeVlanAdd(link netlink.Link, vid uint16, pvid, untagged bool) error {
	return n.doByLibrary(func(h *netlink.Handle) error { return h.BridgeVlanAdd(link, vid, pvid, untagged, false, true) })
}

// BridgeVlanDel takes a port out of a VLAN.
func (n *Namespace) BridgeVlanDel(link netlink.Link, vid uint16) error {
	return n.doByLibrary(func(h *netlink.Handle) error { return h.BridgeVlanDel(link, vid, false, false, false, true) })
}

// QdiscList lists the queueing disciplines of a link.
func (n *Namespace) QdiscList(link netlink.Link) ([]netlink.Qdisc, error) {
	return byLibrary(n, func(h *netlink.Handle) ([]netlink.Qdisc, error) { return h.QdiscList(link) })
}

// QdiscAdd adds a queueing discipline.
func (n *Namespace) QdiscAdd(qdisc netlink.Qdisc) error {
	return n.doByLibrary(func(h *netlink.Handle) error { return h.QdiscAdd(qdisc) })
}

// QdiscReplace puts a queueing discipline in the place of another.
func (n *Namespace) QdiscReplace(qdisc netlink.Qdisc) error {
	return n.doByLibrary(func(h *netlink.Handle) error { return h.QdiscReplace(qdisc) })
}

// QdiscDel deletes a queueing discipline.
func (n *Namespace) QdiscDel(qdisc netlink.Qdisc) error {
	return n.doByLibrary(func(h *netlink.Handle) error { return h.QdiscDel(qdisc) })
}

// FilterList lists the filters of a queueing discipline of a link.
func (n *Namespace) FilterList(link netlink.Link, parent uint32) ([]netlink.Filter, error) {
	return byLibrary(n, func(h *netlink.Handle) ([]netlink.Filter, error) { return h.FilterList(link, parent) })
}

// FilterAdd adds a filter.
func (n *Namespace) FilterAdd(filter netlink.Filter) error {
	return n.doByLibrary(func(h *netlink.Handle) error { return h.FilterAdd(filter) })
}

func (n *Namespace) doByLibrary(f func(*netlink.Handle) error) error {
	h, err := n.library()
	if err != nil {
		return err
	}
	return f(h)
}
