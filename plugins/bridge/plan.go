package main

import (
	"net/netip"
	"slices"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/bridging"
	"github.com/fairway-cni/fairway/pkg/state/predecessor"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
)

// plan declares the bridge and one container on it. What can fail for a reason of the container comes before what
// filters and translates its packets, so that a failed ADD leaves no trace of either; the announcement comes last.
func plan(c conf, r attach.Request, lease attach.Lease) (state.Set, attach.Result) {
	if !r.Recorded {
		lease = c.route(lease)
	}
	link := attach.ContainerLink{
		Name: r.Owner.IfName, DAD: c.EnableDAD, Autoconfigured: attach.Autoconfigured(c.IPAM.Type, c.AcceptRA), Bridge: c.Bridge,
	}

	set := c.shared(r, lease)
	set = append(set, c.veth(r, link.IPv6()))
	if c.filtersVLANs() {
		set = append(set, c.portVLANs(r))
	}
	set = append(set, link.Configure(lease)...)
	set = append(set, c.rules(r, lease)...)
	set = append(set, c.published(r, lease)...)
	set = append(set, link.Announce(lease)...)

	result := attach.Result{Lease: lease, Interfaces: []attach.Interface{
		{Name: c.Bridge, In: state.Host},
		{Name: r.Owner.HostLink(), In: state.Host},
		{Name: r.Owner.IfName, In: state.Container},
	}}
	if c.VLAN != 0 && c.IsGateway && len(lease.IPs) > 0 {
		result.Interfaces = append(result.Interfaces, attach.Interface{Name: c.gateway().Link(), In: state.Host})
	}
	return set, result
}

// shared is what all containers of the bridge have in common.
func (c conf) shared(r attach.Request, lease attach.Lease) state.Set {
	var set state.Set
	if c.IPMasqBackend == "iptables" {
		set = append(set, state.Warning{Text: "ipMasqBackend iptables is answered with nftables: both work side by side"})
	}
	set = append(set, state.Shared(bridging.Bridge{
		Name: c.Bridge, MTU: c.MTU, Promisc: c.PromiscMode, VLANFiltering: c.filtersVLANs(),
	}))
	if c.IsGateway && !c.Internal {
		set = append(set, ruleset.ForwardPath{Link: c.forwardingLink()})
	}
	if c.IsGateway && len(lease.IPs) > 0 {
		set = append(set, c.gatewayState(lease)...)
	}
	isolation := ruleset.Isolation{
		Bridge: c.Bridge, Link: c.forwardingLink(), Internal: c.Internal, Isolated: c.Isolated, Separate: c.separates(),
	}
	if r.OfAnotherSuite() && isolation.Unlimited() {
		return set // which knows nothing of fairway's set of bridges
	}
	return append(set, state.Shared(isolation))
}

// forwardingLink is the link by which the host forwards for the containers.
func (c conf) forwardingLink() string {
	if c.VLAN != 0 {
		return c.gateway().Link()
	}
	return c.Bridge
}

// gatewayState makes the host the containers' gateway.
func (c conf) gatewayState(lease attach.Lease) state.Set {
	var set state.Set
	gateway := bridging.Gateway{Link: c.forwardingLink(), Force: c.ForceAddress}
	if c.VLAN != 0 {
		set = append(set, state.Shared(c.gateway()))
	}
	forward4, forward6 := false, false
	for _, ip := range lease.IPs {
		gateway.Leased = append(gateway.Leased, ip.Prefix.Addr())
		if !ip.Gateway.IsValid() {
			continue
		}
		gateway.Prefixes = append(gateway.Prefixes, netip.PrefixFrom(ip.Gateway, ip.Prefix.Bits()))
		forward4, forward6 = forward4 || ip.Gateway.Is4(), forward6 || ip.Gateway.Is6()
	}
	set = append(set, state.Shared(gateway))
	if forward4 {
		set = append(set, state.Shared(state.Sysctl{In: state.Host, Key: "net/ipv4/ip_forward", Value: "1"}))
	}
	if forward6 {
		set = append(set, state.Shared(state.Forwarding6{}))
	}
	return set
}

func (c conf) gateway() bridging.VLANGateway {
	return bridging.VLANGateway{Bridge: c.Bridge, VLAN: uint16(c.VLAN), KeepDefault: c.PreserveDefaultVLAN}
}

func (c conf) veth(r attach.Request, ipv6 state.LinkIPv6) state.Veth {
	return state.Veth{
		Owner: r.Owner, MAC: r.MAC(c.mac), RecordedMAC: r.RecordedMAC, RecordedHostLink: r.RecordedHostLink, MTU: c.MTU, Down: c.DisableContainerInterface,
		IPv6: ipv6, Bridge: c.Bridge, Hairpin: c.HairpinMode, Isolated: c.PortIsolation,
	}
}

func (c conf) filtersVLANs() bool { return c.VLAN != 0 || len(c.tagged) > 0 }

// portVLANs is the container's VLANs. A trunk without a native VLAN has VLAN 1 as its native one, as upstream has it.
func (c conf) portVLANs(r attach.Request) bridging.PortVLANs {
	vlans := bridging.PortVLANs{
		Port: r.HostLink(), Native: uint16(c.VLAN), Tagged: c.tagged, KeepDefault: c.PreserveDefaultVLAN,
	}
	if vlans.Native == 0 {
		vlans.Native = 1
	}
	return vlans
}

// rules is what filters and translates the container's packets, or is not to: the keys may have changed. Another suite's
// attachment has that suite's rules.
func (c conf) rules(r attach.Request, lease attach.Lease) state.Set {
	if r.OfAnotherSuite() && !r.Removal {
		return nil
	}
	masquerade := ruleset.Masquerade{Owner: r.Owner, Link: c.forwardingLink(), Off: !c.masquerades()}
	for _, ip := range lease.IPs {
		masquerade.Prefixes = append(masquerade.Prefixes, ip.Prefix)
	}
	set := state.Set{ruleset.SpoofCheck{Owner: r.Owner, MAC: r.MAC(c.mac), Off: !c.MACSpoofCheck}, masquerade}
	if r.Removal {
		set = append(set, predecessor.Attached{Owner: r.Owner})
	}
	return set
}

// masquerades is false for a network without addresses, and for an internal one, which nothing leaves.
func (c conf) masquerades() bool { return c.IPMasq && !c.Internal && c.IPAM.Type != "" }

// route gives the lease its gateways and default routes.
func (c conf) route(lease attach.Lease) attach.Lease {
	lease.IPs, lease.Routes = slices.Clone(lease.IPs), slices.Clone(lease.Routes)
	if c.Internal {
		lease.Routes = slices.DeleteFunc(lease.Routes, isDefault)
	}
	if !c.IsGateway {
		return lease
	}
	for i, ip := range lease.IPs {
		if !ip.Gateway.IsValid() {
			lease.IPs[i].Gateway = firstOf(ip.Prefix)
		}
		if c.IsDefaultGateway && !c.Internal && lease.IPs[i].Gateway.IsValid() {
			lease.Routes = withDefault(lease.Routes, lease.IPs[i].Gateway)
		}
	}
	return lease
}

// withDefault adds a default route unless there is one with a next hop for the family.
func withDefault(routes []attach.Route, gateway netip.Addr) []attach.Route {
	for _, route := range routes {
		if isDefault(route) && route.GW.IsValid() && route.GW.Is4() == gateway.Is4() {
			return routes
		}
	}
	all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if gateway.Is6() {
		all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return append(routes, attach.Route{Dst: all, GW: gateway})
}

func isDefault(route attach.Route) bool { return route.Dst.Bits() == 0 }

// firstOf is the first address of a subnet, the usual gateway, or the zero address in a subnet of one.
func firstOf(p netip.Prefix) netip.Addr {
	if p.IsSingleIP() {
		return netip.Addr{}
	}
	return p.Masked().Addr().Next()
}
