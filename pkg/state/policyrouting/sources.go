// Package policyrouting declares which routing table of a container is asked for packets with a certain source (ip-rule(8)). It needs
// CAP_NET_ADMIN in the container's namespace.
package policyrouting

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Source is an address of the container.
type Source struct {
	// Prefix is the address with the length of its subnet.
	Prefix netip.Prefix
	// Gateway is the next hop of what it sends to elsewhere. The zero value means none.
	Gateway netip.Addr
}

// Sources routes what the addresses of a link send by that link.
type Sources struct {
	Link  string
	Addrs []Source
	// Table is the one to ask, as it is. 0: one of its own for each address, to which the link's routes are moved.
	Table int
}

var _ state.Adder = Sources{}

// firstTable is the first one that an address may get: upstream's plugin sbr begins there.
const firstTable = 100

// Place is the container's namespace.
func (Sources) Place() state.Place { return state.Container }

func (s Sources) String() string {
	table := fmt.Sprint(s.Table)
	if s.Table == 0 {
		table = "TABLE"
	}
	var lines []string
	for _, source := range s.Addrs {
		lines = append(lines, fmt.Sprintf("ip rule add from %s table %s", source.Prefix.Addr(), table))
		if s.Table == 0 && source.Gateway.IsValid() {
			lines = append(lines, fmt.Sprintf("ip route add default via %s dev %s table %s", source.Gateway, s.Link, table))
		}
	}
	return strings.Join(lines, " && ")
}

// Ensure is Add.
func (s Sources) Ensure(k *kernel.Kernel) (bool, error) { return state.Ensured(s, k) }

// Add adds the rules, and moves the routes.
func (s Sources) Add(k *kernel.Kernel, made *state.Rollback) error {
	link, err := k.Container.Link(s.Link)
	if err != nil {
		return err
	}
	if len(s.Addrs) == 0 {
		return fmt.Errorf("link %s has no address by the result of the plugins before, %w: name the plugin behind one that gives addresses",
			s.Link, state.ErrConflict)
	}
	return s.move(changes{made, k.Container, link})
}

// move brings routes to their new table before a rule leads there, and takes them out of the old one at the end: what the container sends
// always finds a route.
func (s Sources) move(c changes) error {
	used := map[int]bool{}
	for _, source := range s.Addrs {
		table, ruled, err := s.choose(c.n, source, used)
		if err != nil {
			return err
		}
		if s.Table == 0 {
			if err := source.copyRoutes(c, table); err != nil {
				return err
			}
		}
		if !ruled {
			if err := c.addRule(source.rule(table)); err != nil {
				return err
			}
		}
	}
	if s.Table != 0 {
		return nil
	}
	return s.dropRoutes(c)
}

// choose is the table of an address: that of its rule, where it has one already.
func (s Sources) choose(n *kernel.Namespace, source Source, used map[int]bool) (table int, ruled bool, err error) {
	rules, err := rulesOf(n, source.family())
	if err != nil {
		return 0, false, err
	}
	for _, rule := range rules {
		used[rule.Table] = true
	}
	if table, ruled = s.ruled(rules, source); ruled {
		return table, true, nil
	}
	if s.Table != 0 {
		return s.Table, false, nil
	}
	routes, err := routesOf(n, source.family(), unix.RT_TABLE_UNSPEC, 0)
	if err != nil {
		return 0, false, err
	}
	for _, route := range routes {
		used[route.Table] = true
	}
	for table = firstTable; used[table]; {
		table++
	}
	used[table] = true
	return table, false, nil
}

// ruled is the table of the declared rule for an address.
func (s Sources) ruled(rules []netlink.Rule, source Source) (table int, ok bool) {
	for _, rule := range rules {
		if source.has(rule) && (s.Table == 0 && rule.Table >= firstTable || s.Table == rule.Table) {
			return rule.Table, true
		}
	}
	return 0, false
}

// copyRoutes brings the link's routes for an address into a table, those on the link first, by which the next hops of others are
// reached, and a default route by its gateway, if none is among them.
func (s Source) copyRoutes(c changes, table int) error {
	index := c.link.Attrs().Index
	routes, err := routesOf(c.n, s.family(), unix.RT_TABLE_MAIN, index)
	if err != nil {
		return err
	}
	there, err := routesOf(c.n, s.family(), table, index)
	if err != nil {
		return err
	}
	if s.Gateway.IsValid() {
		everything := netip.PrefixFrom(s.unspecified(), 0)
		routes = append(routes, netlink.Route{LinkIndex: index, Dst: state.IPNet(everything), Gw: s.Gateway.AsSlice()})
	}
	slices.SortStableFunc(routes, func(a, b netlink.Route) int { return cmp.Compare(len(a.Gw), len(b.Gw)) })
	for _, route := range routes {
		if !s.uses(route) {
			continue
		}
		route.Table = table
		if err := c.putRoute(route, there); err != nil {
			return err
		}
	}
	return nil
}

// uses says whether a route is one for what an address sends: of its subnet, by its gateway, or for whoever. The link's own addresses of
// IPv6 are needed in the main table, where the kernel looks for neighbours.
func (s Source) uses(route netlink.Route) bool {
	dst := state.PrefixOf(route.Dst)
	if dst.IsValid() && (dst.Addr().IsLinkLocalUnicast() && dst.Addr().Is6() || dst.Addr().IsMulticast()) {
		return false
	}
	src, via := addrOf(route.Src), addrOf(route.Gw)
	return !src.IsValid() && !via.IsValid() || via.IsValid() && via == s.Gateway ||
		src.IsValid() && s.Prefix.Masked().Contains(src) || via.IsValid() && s.Prefix.Masked().Contains(via)
}

// dropRoutes takes the routes that were moved out of the main table, those by a next hop first.
func (s Sources) dropRoutes(c changes) error {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		if !slices.ContainsFunc(s.Addrs, func(source Source) bool { return source.family() == family }) {
			continue
		}
		routes, err := routesOf(c.n, family, unix.RT_TABLE_MAIN, c.link.Attrs().Index)
		if err != nil {
			return err
		}
		slices.SortStableFunc(routes, func(a, b netlink.Route) int { return cmp.Compare(len(b.Gw), len(a.Gw)) })
		for _, route := range routes {
			if !slices.ContainsFunc(s.Addrs, func(source Source) bool { return source.family() == family && source.uses(route) }) {
				continue
			}
			if err := c.dropRoute(route); err != nil {
				return err
			}
		}
	}
	return nil
}

// Verify looks for the rules, and for the default routes in the tables they lead to.
func (s Sources) Verify(k *kernel.Kernel) error {
	n := k.Container
	link, err := n.Link(s.Link)
	if err != nil {
		return state.IgnoreNotFound(err) // the plugin that has made it says so
	}
	var errs []error
	for _, source := range s.Addrs {
		rules, err := rulesOf(n, source.family())
		if err != nil {
			return err
		}
		table, ruled := s.ruled(rules, source)
		if !ruled {
			errs = append(errs, state.Driftf("no rule for what %s sends", source.Prefix.Addr()))
			continue
		}
		if s.Table != 0 || !source.Gateway.IsValid() {
			continue
		}
		routes, err := routesOf(n, source.family(), table, link.Attrs().Index)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(routes, func(r netlink.Route) bool {
			return addrOf(r.Gw) == source.Gateway && (r.Dst == nil || state.PrefixOf(r.Dst).Bits() == 0)
		}) {
			errs = append(errs, state.Driftf("no default route by %s in table %d", source.Gateway, table))
		}
	}
	return errors.Join(errs...)
}

// Remove deletes the rules; the routes go with the link. Where no addresses are declared, they are those of the link.
func (s Sources) Remove(k *kernel.Kernel) error {
	n := k.Container
	if n == nil {
		return nil // the namespace has gone, and its rules with it
	}
	addrs := s.Addrs
	if len(addrs) == 0 {
		link, err := n.Link(s.Link)
		if err != nil {
			return state.IgnoreNotFound(err)
		}
		on, err := kernel.Dump(func() ([]netlink.Addr, error) { return n.AddrList(link, netlink.FAMILY_ALL) })
		if err != nil {
			return fmt.Errorf("ip addr show dev %s: %w", s.Link, err)
		}
		for _, addr := range on {
			addrs = append(addrs, Source{Prefix: state.PrefixOf(addr.IPNet)})
		}
	}
	var errs []error
	for _, source := range addrs {
		rules, err := rulesOf(n, source.family())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, rule := range rules {
			if !source.has(rule) || s.Table != 0 && rule.Table != s.Table {
				continue
			}
			if err := n.RuleDel(source.rule(rule.Table)); err != nil && !errors.Is(err, unix.ENOENT) {
				errs = append(errs, fmt.Errorf("ip rule del from %s table %d: %w", source.Prefix.Addr(), rule.Table, err))
			}
		}
	}
	return errors.Join(errs...)
}

func (s Source) family() int {
	if s.Prefix.Addr().Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

func (s Source) unspecified() netip.Addr {
	if s.Prefix.Addr().Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// rule sends what the address sends to a table.
func (s Source) rule(table int) *netlink.Rule {
	rule := netlink.NewRule()
	rule.Family, rule.Table = s.family(), table
	rule.Src = state.IPNet(netip.PrefixFrom(s.Prefix.Addr(), s.Prefix.Addr().BitLen()))
	return rule
}

// has says whether a rule is for this address alone.
func (s Source) has(rule netlink.Rule) bool {
	return state.PrefixOf(rule.Src) == netip.PrefixFrom(s.Prefix.Addr(), s.Prefix.Addr().BitLen())
}

func rulesOf(n *kernel.Namespace, family int) ([]netlink.Rule, error) {
	rules, err := kernel.Dump(func() ([]netlink.Rule, error) { return n.RuleList(family) })
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return nil, fmt.Errorf("rules of routing need CONFIG_IP_MULTIPLE_TABLES and CONFIG_IPV6_MULTIPLE_TABLES, %w: leave the plugin out, or use a kernel that has them",
			state.ErrUnsupported)
	case err != nil:
		return nil, fmt.Errorf("ip rule show: %w", err)
	}
	return rules, nil
}

// routesOf lists the routes of a table, or of all with RT_TABLE_UNSPEC, by a link, or by any with index 0.
func routesOf(n *kernel.Namespace, family, table, index int) ([]netlink.Route, error) {
	filter, mask := &netlink.Route{Table: table, LinkIndex: index}, netlink.RT_FILTER_TABLE
	if index != 0 {
		mask |= netlink.RT_FILTER_OIF
	}
	routes, err := kernel.Dump(func() ([]netlink.Route, error) { return n.RouteListFiltered(family, filter, mask) })
	if err != nil {
		return nil, fmt.Errorf("ip route show table %d: %w", table, err)
	}
	return routes, nil
}

// addrOf is an address of the netlink library's. The zero value stands for nil.
func addrOf(ip []byte) netip.Addr {
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}
