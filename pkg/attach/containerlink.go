package attach

import (
	"net/netip"
	"slices"

	"github.com/fairway-cni/fairway/pkg/state"
)

// ContainerLink is the container's interface as a place for a lease.
type ContainerLink struct {
	Name string
	// DAD runs duplicate address detection for IPv6 and waits for it.
	DAD bool
	// Autoconfigured lets the interface take addresses and routes from router advertisements, beside those of a lease.
	Autoconfigured bool
	// Bridge is the one that the interface leads to. Empty: none.
	Bridge string
}

// Autoconfigured is for a network whose containers take addresses from router advertisements: its IPAM plugin gives them none, or
// those of the segment's own DHCP server, or the network asks for it.
func Autoconfigured(ipam string, asked bool) bool { return asked || ipam == "" || ipam == "dhcp" }

// IPv6 is how the interface treats IPv6, whatever its lease: an executed IPAM plugin finds the link made.
func (c ContainerLink) IPv6() state.LinkIPv6 {
	return state.LinkIPv6{IgnoreRouters: !c.Autoconfigured, DAD: c.DAD}
}

// Configure declares a lease on the interface: its addresses, then its routes.
func (c ContainerLink) Configure(lease Lease) state.Set {
	var set state.Set
	if c.has6(lease) { // so that its addresses stay on a link that is taken down, as those of IPv4 do
		set = append(set, state.Sysctl{In: state.Container, Key: "net/ipv6/conf/" + c.Name + "/keep_addr_on_down", Value: "1"})
	}
	for _, ip := range lease.IPs {
		set = append(set, state.Address{In: state.Container, Link: c.Name, Prefix: ip.Prefix, DAD: c.DAD})
	}
	for _, route := range lease.Routes {
		set = append(set, state.Route{
			In: state.Container, Link: c.Name, Dst: route.Dst.Masked(), Via: nextHop(route, lease.IPs),
			MTU: route.MTU, AdvMSS: route.AdvMSS, Priority: route.Priority, Table: route.Table, Scope: route.Scope,
		})
	}
	return set
}

// Announce declares that the segment is told of the lease's addresses. Without one there is nothing to tell.
func (c ContainerLink) Announce(lease Lease) state.Set {
	announce := state.Announce{Link: c.Name, Bridge: c.Bridge, First: lease.First}
	for _, ip := range lease.IPs {
		announce.Addrs = append(announce.Addrs, ip.Prefix.Addr())
	}
	if len(announce.Addrs) == 0 {
		return nil
	}
	return state.Set{announce}
}

func (c ContainerLink) has6(lease Lease) bool {
	return slices.ContainsFunc(lease.IPs, func(ip IP) bool { return ip.Prefix.Addr().Is6() })
}

// nextHop is the route's own, or else the gateway of the first address of its family, as upstream has it. A link-scoped
// route has none.
func nextHop(route Route, ips []IP) netip.Addr {
	if route.GW.IsValid() || route.Scope != nil && *route.Scope == scopeLink {
		return route.GW
	}
	for _, ip := range ips {
		if ip.Gateway.IsValid() && ip.Gateway.Is4() == route.Dst.Addr().Is4() {
			return ip.Gateway
		}
	}
	return netip.Addr{}
}

// scopeLink is the scope of destinations on the link itself (RT_SCOPE_LINK, rtnetlink(7)).
const scopeLink = 253
