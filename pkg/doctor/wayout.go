package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/packetfilter"
	"github.com/fairway-cni/fairway/pkg/snapshot"
)

// routed says whether the container has a route to the outside in the family of an address, by whatever table and rule.
func (w *way) routed(of netip.Addr) bool {
	k, err := kernel.Open(w.a.Path())
	if err != nil {
		return true // it is leaving
	}
	defer k.Close()
	routes, err := k.Container.RouteGet(packetfilter.Outside(of))
	return err == nil && len(routes) > 0
}

// isDefault says whether the container reaches the outside of a family by this network, by the host.
func (w *way) isDefault(of netip.Addr) bool {
	for _, r := range w.inside.Defaults() {
		if r.Dst.Addr().Is4() == of.Is4() {
			return r.Link == w.link.Index
		}
	}
	return false
}

// comesBy is the link of the host that the container's packets come by.
func (w *way) comesBy() snapshot.Link {
	if w.onBridge() {
		return w.bridge
	}
	return w.end
}

func tryWayOut(_ context.Context, w *way) []Finding {
	if !forwards(w.network) || w.comesBy().Index == 0 {
		return nil
	}
	for _, p := range w.a.Addresses {
		if !w.isDefault(p.Addr()) {
			continue
		}
		routes, err := w.h.Kernel.Host.RouteVia(packetfilter.Outside(p.Addr()), p.Addr(), w.comesBy().Index)
		if err != nil || len(routes) == 0 {
			if finding, bad := w.noWay(p.Addr(), err); bad {
				return []Finding{finding}
			}
			continue
		}
		if link, ok := w.h.Snapshot.LinkAt(routes[0].LinkIndex); ok && !link.Running {
			return []Finding{errorf("%s, by which the host reaches the outside, has no carrier", link.Name).remedy("see to its cable, or to what it stands on")}
		}
	}
	return nil
}

// noWay says why the host sends what comes from an address nowhere.
func (w *way) noWay(from netip.Addr, err error) (f Finding, bad bool) {
	h := w.h
	if len(h.notForwarded(from)) > 0 {
		return f, false // another check says so
	}
	if rule, ok := h.divertedBy(from, true); ok {
		return errorf("the rule %q leaves what containers of network %s send without a way (%v)", ruleText(rule), w.a.Network, err).
			command("%s", deleteRule(rule)), true
	}
	if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EINVAL) {
		return errorf("the host takes nothing from %s by %s: its reverse-path filter, or its routes, expect it elsewhere", from, w.comesBy().Name).
			remedy("see ip route get %s, and sysctl net.ipv4.conf.all.rp_filter", from), true
	}
	if slices.ContainsFunc(h.Snapshot.Routes, func(r snapshot.Route) bool {
		return r.Via.IsValid() && r.Dst.Addr().Is4() == from.Is4()
	}) {
		return f, false // it has routers for what it is to reach
	}
	if from.Is6() && len(w.a.Addresses) > 1 {
		return f, false // beside IPv4, it is often of no use outside
	}
	for _, link := range h.Snapshot.Links {
		if !link.Up && len(link.Global()) > 0 && !h.ofNetwork(link) {
			return warningf("%s is down, and the host has no default route: containers reach the host alone", link.Name).
				command("ip link set %s up && ip route replace default via GATEWAY dev %s", shell(link.Name), shell(link.Name)).
				remedy("with the address of the router as GATEWAY"), true
		}
	}
	return warningf("the host has no default route: containers reach the host alone").
		command("ip route add default via GATEWAY").remedy("with the address of the router as GATEWAY"), true
}

// notForwarded are the networks that need a family which the host does not forward.
func (h *Host) notForwarded(of netip.Addr) []string {
	key := "net/ipv4/ip_forward"
	if of.Is6() {
		key = "net/ipv6/conf/all/forwarding"
	}
	if value, err := h.Kernel.Host.Sysctl(key); err != nil || value != "0" {
		return nil
	}
	return h.forwarded(of.Is4())
}

func tryWayBack(_ context.Context, w *way) []Finding {
	by := w.comesBy()
	if by.Index == 0 || !onHost(w.network) || w.onBridge() && !w.gateway {
		return nil
	}
	for _, p := range w.a.Addresses {
		routes, err := w.h.back(p.Addr())
		switch {
		case err != nil && len(w.h.notForwarded(p.Addr())) > 0:
			continue
		case err == nil && len(routes) > 0 && w.ours(routes[0].LinkIndex):
			continue
		}
		where := "nowhere"
		if err == nil && len(routes) > 0 {
			link, _ := w.h.Snapshot.LinkAt(routes[0].LinkIndex)
			where = "by " + link.Name
		}
		if rule, ok := w.h.divertedBy(p.Addr(), false); ok {
			return []Finding{errorf("the rule %q sends what comes back to network %s %s instead of %s", ruleText(rule), w.a.Network, where, by.Name).
				command("%s", deleteRule(rule))}
		}
		return []Finding{errorf("what comes back to %s of %s goes %s instead of %s", p.Addr(), w.container(), where, by.Name).
			remedy("see ip route get %s: delete the route that takes it elsewhere", p.Addr())}
	}
	return nil
}

// ours says whether a link of the host leads to the container: the bridge, its own end, or the device of an overlay.
func (w *way) ours(index int) bool {
	link, _ := w.h.Snapshot.LinkAt(index)
	return index == w.bridge.Index || index == w.end.Index || link.Name == w.network.Link
}

// back is the route that what comes from the outside to an address takes.
func (h *Host) back(to netip.Addr) ([]netlink.Route, error) {
	if out, ok := h.wayOut(to); ok {
		routes, err := h.Kernel.Host.RouteVia(to, packetfilter.Outside(to), out.Index)
		if err == nil || !errors.Is(err, unix.EXDEV) { // else it is the filter that objects, which is another check's
			return routes, err
		}
	}
	return h.Kernel.Host.RouteGet(to)
}

// Rules of the kernel's own, by their preference.
var ownRules = []int{0, 32766, 32767}

// divertedBy finds a rule of somebody's that an address is subject to, as source or as destination.
func (h *Host) divertedBy(addr netip.Addr, source bool) (netlink.Rule, bool) {
	family := netlink.FAMILY_V4
	if addr.Is6() {
		family = netlink.FAMILY_V6
	}
	rules, err := kernel.Dump(func() ([]netlink.Rule, error) { return h.Kernel.Host.RuleList(family) })
	if err != nil {
		return netlink.Rule{}, false
	}
	for _, rule := range rules {
		of := rule.Dst
		if source {
			of = rule.Src
		}
		if slices.Contains(ownRules, max(rule.Priority, 0)) && rule.Table != unix.RT_TABLE_UNSPEC || of == nil || !of.Contains(net.IP(addr.AsSlice())) {
			continue
		}
		return rule, true
	}
	return netlink.Rule{}, false
}

// ruleText is a rule as ip-rule(8) has it, with where it leads.
func ruleText(rule netlink.Rule) string {
	actions := map[uint8]string{unix.RTN_BLACKHOLE: "blackhole", unix.RTN_UNREACHABLE: "unreachable", unix.RTN_PROHIBIT: "prohibit"}
	action, ok := actions[rule.Type]
	if !ok {
		action = fmt.Sprintf("lookup %d", rule.Table)
	}
	return strings.TrimSpace(selectorOf(rule) + " " + action)
}

func selectorOf(rule netlink.Rule) string {
	selector := ""
	for _, of := range []struct {
		word string
		net  *net.IPNet
	}{{"from", rule.Src}, {"to", rule.Dst}} {
		if of.net != nil {
			selector += fmt.Sprintf(" %s %s", of.word, of.net)
		}
	}
	return selector
}

func deleteRule(rule netlink.Rule) string {
	family := ""
	if rule.Family == netlink.FAMILY_V6 {
		family = "-6 "
	}
	return fmt.Sprintf("ip %srule del pref %d%s", family, rule.Priority, selectorOf(rule))
}
