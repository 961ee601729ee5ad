package state

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Route is a route through a link.
type Route struct {
	Attribute
	In   Place
	Link string
	Dst  netip.Prefix
	// Via is the next hop; the zero address makes a route on the link.
	Via netip.Addr
	// MTU and AdvMSS in bytes, 0 for none.
	MTU, AdvMSS int
	// Priority is the metric. With 0, the route gives way to one through another link, by a higher metric, and takes over
	// when that one goes: a container's second network. A default route through ethN comes after those through links of lower
	// numbers, in whatever order they are added: runtimes add networks in parallel.
	Priority int
	// Table is the routing table, nil for main.
	Table *int
	// Scope as in /etc/iproute2/rt_scopes, nil for the kernel's choice: link without a next hop, else global.
	Scope *int
}

func (r Route) Place() Place { return r.In }

func (r Route) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "ip route add %s", r.Dst)
	if r.Via.IsValid() {
		fmt.Fprintf(&text, " via %s", r.Via)
	}
	fmt.Fprintf(&text, " dev %s", r.Link)
	r.options(&text)
	return text.String()
}

func (r Route) options(text *strings.Builder) {
	for _, option := range []struct {
		name  string
		value int
	}{{"mtu", r.MTU}, {"advmss", r.AdvMSS}, {"metric", r.Priority}} {
		if option.value != 0 {
			fmt.Fprintf(text, " %s %d", option.name, option.value)
		}
	}
	if r.Table != nil {
		fmt.Fprintf(text, " table %d", *r.Table)
	}
	if r.Scope != nil {
		fmt.Fprintf(text, " scope %s", scopeName(*r.Scope))
	}
}

// scopeName is what ip-route(8) calls a scope (rtnetlink(7), rtm_scope); one without a name has its number.
func scopeName(scope int) string {
	switch scope {
	case unix.RT_SCOPE_UNIVERSE:
		return "global"
	case unix.RT_SCOPE_SITE:
		return "site"
	case unix.RT_SCOPE_LINK:
		return "link"
	case unix.RT_SCOPE_HOST:
		return "host"
	}
	return strconv.Itoa(scope)
}

// Ensure adds the route.
func (r Route) Ensure(k *kernel.Kernel) (bool, error) {
	n := r.In.In(k)
	link, err := n.Link(r.Link)
	if err != nil {
		return false, err
	}
	// A parallel ADD of another network may take the metric found free; each round is an ADD that succeeded.
	const rounds = 64
	priority := r.Priority
	if r.Dst.Bits() == 0 {
		// Metric 0 may be free because the network that had it was disconnected; the other's route stays the first.
		present, free, err := r.giveWay(n, link.Attrs().Index)
		if present || err != nil {
			return false, err
		}
		priority = free
	}
	for range rounds {
		err = n.RouteAdd(r.netlink(link.Attrs().Index, priority))
		if !errors.Is(err, unix.EEXIST) {
			break
		}
		if priority == 0 {
			own, err := r.connectedOnly(n, link.Attrs().Index)
			if err != nil {
				return false, err
			}
			if own {
				return r.addBefore(n, link.Attrs().Index)
			}
		}
		var present bool
		present, priority, err = r.giveWay(n, link.Attrs().Index)
		if present || err != nil {
			return false, err
		}
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", r, err)
	}
	return true, nil
}

// connectedOnly says whether what has metric 0 to the destination is the kernel's own route to the subnet of an address of the same
// link. A route to all of the subnet by a router is meant to be used instead.
func (r Route) connectedOnly(n *kernel.Namespace, index int) (bool, error) {
	routes, err := r.list(n, r.table())
	first := slices.DeleteFunc(routes, func(other netlink.Route) bool { return other.Priority != 0 })
	others := slices.ContainsFunc(first, func(other netlink.Route) bool {
		return other.LinkIndex != index || other.Protocol != unix.RTPROT_KERNEL
	})
	return len(first) > 0 && !others, err
}

// addBefore adds the route before others of its metric (ip route prepend).
func (r Route) addBefore(n *kernel.Namespace, index int) (bool, error) {
	if err := n.RoutePrepend(r.netlink(index, 0)); err != nil && !errors.Is(err, unix.EEXIST) {
		return false, fmt.Errorf("%s: %w", r, err)
	}
	return true, nil
}

// table is the number of the route's table.
func (r Route) table() int {
	if table := valueOf(r.Table); table != unix.RT_TABLE_UNSPEC {
		return table
	}
	return unix.RT_TABLE_MAIN
}

// giveWay looks at the routes to the same destination: whether ours is among them, and which metric is free.
func (r Route) giveWay(n *kernel.Namespace, index int) (present bool, priority int, err error) {
	routes, err := r.list(n, r.table())
	if err != nil {
		return false, 0, err
	}
	next, taken := 0, map[int]bool{}
	for _, other := range routes {
		taken[other.Priority] = true
		if r.matches(other, index) && (r.Priority == 0 || r.Priority == other.Priority) {
			return true, 0, nil
		}
		next = max(next, other.Priority+1)
	}
	if r.Priority == 0 {
		if place, ok := r.place(); ok && !taken[place] {
			return false, place, nil
		}
		return false, next, nil
	}
	if slices.ContainsFunc(routes, func(other netlink.Route) bool { return other.Priority == r.Priority }) {
		return false, 0, fmt.Errorf("%s: a route of this priority through another link %w: choose another priority", r, ErrExists)
	}
	return false, r.Priority, nil
}

// place is the metric of a default route by the number of its link; ok is false for any other route.
func (r Route) place() (metric int, ok bool) {
	digits, is := strings.CutPrefix(r.Link, "eth")
	number, err := strconv.ParseUint(digits, 10, 8)
	if !is || err != nil || r.Dst.Bits() != 0 {
		return 0, false
	}
	if r.Dst.Addr().Is6() {
		metric = 1024 // what the kernel makes of 0 (IP6_RT_PRIO_USER, linux/ipv6_route.h)
	}
	return metric + int(number), true
}

// list lists the routes to the destination in a table. Without one, they are those of all tables.
func (r Route) list(n *kernel.Namespace, table int) ([]netlink.Route, error) {
	routes, err := kernel.Dump(func() ([]netlink.Route, error) { return n.RoutesTo(r.Dst, table) })
	if err != nil {
		return nil, fmt.Errorf("ip route show %s: %w", r.Dst, err)
	}
	return routes, nil
}

// matches says whether a route of the kernel goes the declared way.
func (r Route) matches(other netlink.Route, index int) bool {
	if other.LinkIndex != index {
		return false
	}
	if !r.Via.IsValid() {
		return len(other.Gw) == 0
	}
	return other.Gw.Equal(r.Via.AsSlice())
}

func (r Route) netlink(index, priority int) *netlink.Route {
	route := &netlink.Route{
		LinkIndex: index, Dst: IPNet(r.Dst), MTU: r.MTU, AdvMSS: r.AdvMSS, Priority: priority,
	}
	if r.Via.IsValid() {
		route.Gw = r.Via.AsSlice()
	} else {
		route.Scope = netlink.SCOPE_LINK
	}
	if r.Table != nil {
		route.Table = *r.Table
	}
	if r.Scope != nil {
		route.Scope = netlink.Scope(*r.Scope)
	}
	return route
}

// Verify looks for the route, with any metric unless one is declared, and compares what else is declared of it.
func (r Route) Verify(k *kernel.Kernel) error {
	n := r.In.In(k)
	link, err := n.Link(r.Link)
	if err != nil {
		return IgnoreNotFound(err) // the link's own Verify says so
	}
	// A later plugin of the chain may have moved a route to another table: sbr does, without a record.
	routes, err := r.list(n, valueOf(r.Table))
	if err != nil {
		return err
	}
	var differences []error
	for _, other := range routes {
		if !r.matches(other, link.Attrs().Index) || r.Priority != 0 && r.Priority != other.Priority {
			continue
		}
		difference := r.compare(other)
		if difference == nil {
			return nil
		}
		differences = append(differences, difference)
	}
	if len(differences) > 0 {
		return errors.Join(differences...)
	}
	return Driftf("no route to %s through %s", r.describeDst(), r.Link)
}

// compare reports what is declared and is not the kernel's. A route of IPv6 has no scope there.
func (r Route) compare(other netlink.Route) error {
	var errs []error
	for _, option := range []struct {
		name      string
		want, got int
		declared  bool
	}{
		{"MTU", r.MTU, other.MTU, r.MTU != 0},
		{"advmss", r.AdvMSS, other.AdvMSS, r.AdvMSS != 0},
		{"scope", valueOf(r.Scope), int(other.Scope), r.Scope != nil && r.Dst.Addr().Is4()},
	} {
		if option.declared && option.want != option.got {
			errs = append(errs, Driftf("route to %s through %s has %s %d instead of %d", r.describeDst(), r.Link, option.name, option.got, option.want))
		}
	}
	return errors.Join(errs...)
}

// valueOf is what a pointer leads to; the zero value of one that is nil.
func valueOf(p *int) int {
	if p == nil {
		return 0
	}
	return *p
}

func (r Route) describeDst() string {
	if r.Via.IsValid() {
		return fmt.Sprintf("%s via %s", r.Dst, r.Via)
	}
	return r.Dst.String()
}
