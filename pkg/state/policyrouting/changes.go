package policyrouting

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// changes changes a container's rules, and its routes through a link, and notes before each what takes it back.
type changes struct {
	made *state.Rollback
	n    *kernel.Namespace
	link netlink.Link
}

func (c changes) addRule(rule *netlink.Rule) error {
	c.made.Push(func() error { return except(unix.ENOENT, c.n.RuleDel(rule)) })
	if err := except(unix.EEXIST, c.n.RuleAdd(rule)); err != nil {
		return fmt.Errorf("ip rule add from %s table %d: %w", rule.Src, rule.Table, err)
	}
	return nil
}

// putRoute adds a route, or puts it in the place of one of those there.
func (c changes) putRoute(route netlink.Route, there []netlink.Route) error {
	if at := slices.IndexFunc(there, func(r netlink.Route) bool { return replaces(route, r) }); at >= 0 {
		c.made.Push(func() error { return c.replace(there[at]) })
	} else {
		c.made.Push(func() error { return except(unix.ESRCH, c.n.RouteDel(&route)) })
	}
	return c.replace(route)
}

// replaces says whether a route comes in the place of another one through the same link. The kernel gives one of IPv6 a metric.
func replaces(route, other netlink.Route) bool {
	to, toOther := state.PrefixOf(route.Dst), state.PrefixOf(other.Dst)
	return (to == toOther || to.Bits() <= 0 && toOther.Bits() <= 0) && (route.Priority == other.Priority || addrOf(route.Gw) == addrOf(other.Gw))
}

func (c changes) replace(route netlink.Route) error {
	route.Flags = 0 // what the kernel has noted of it, such as linkdown, is refused in a request
	if err := c.n.RouteReplace(&route); err != nil {
		return fmt.Errorf("ip route replace %s dev %s table %d: %w", route.Dst, c.link.Attrs().Name, route.Table, err)
	}
	return nil
}

func (c changes) dropRoute(route netlink.Route) error {
	c.made.Push(func() error { return c.replace(route) })
	if err := except(unix.ESRCH, c.n.RouteDel(&route)); err != nil {
		return fmt.Errorf("ip route del %s dev %s: %w", route.Dst, c.link.Attrs().Name, err)
	}
	return nil
}

// except makes a success of one error.
func except(success unix.Errno, err error) error {
	if errors.Is(err, success) {
		return nil
	}
	return err
}
