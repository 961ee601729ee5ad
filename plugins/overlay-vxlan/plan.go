package main

import (
	"net/netip"
	"slices"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
	"github.com/fairway-cni/fairway/pkg/state/vxlan"
	"github.com/fairway-cni/fairway/pkg/state/wireguard"
	"github.com/fairway-cni/fairway/pkg/vtep"
)

// plan declares the host's part of the network, and one container routed to it.
func plan(c conf, r attach.Request, lease attach.Lease) (state.Set, attach.Result) {
	lease = c.route(r, lease)
	network := c.overlay(r.Owner.Network)
	link := attach.ContainerLink{Name: r.Owner.IfName}

	set := c.shared(network)
	set = append(set,
		state.Veth{Owner: r.Owner, MAC: r.MAC(c.mac), RecordedMAC: r.RecordedMAC, MTU: network.Device.MTU, IPv6: link.IPv6()},
		c.hostEnd(r, network, lease))
	set = append(set, link.Configure(lease)...)
	set = append(set, c.masquerade(r, lease))
	if r.Removal || c.Publishes() && !c.network.Internal {
		set = append(set, attach.Published(r.Owner, r.Owner.HostLink(), lease, c.ports))
	}
	return set, attach.Result{Lease: lease, Interfaces: []attach.Interface{
		{Name: network.Device.Name, In: state.Host},
		{Name: r.Owner.HostLink(), In: state.Host},
		{Name: r.Owner.IfName, In: state.Container},
	}}
}

// overlay is the host's part of the network.
func (c conf) overlay(network string) vxlan.Overlay {
	if c.declared != nil {
		return *c.declared
	}
	n := c.network
	n.Name = network
	o := vtep.Declare(n, c.hosts, c.own, c.underlayMTU)
	attended := c.Agent != ""
	o.Attended = attended && !c.alone // who declares again without the agent looks at all of it
	o.Peers.Partial, o.Filter.Partial = c.partial, c.partial
	return vtep.Tunnel(o, func(t *wireguard.Tunnel) {
		t.Key, t.Attended, t.Partial = [32]byte(c.key), attended, c.partial
	})
}

// shared is what all containers of the network have in common.
func (c conf) shared(network vxlan.Overlay) state.Set {
	set := state.Set{state.Shared(network)}
	for _, subnet := range c.network.Subnets {
		if subnet.Addr().Is6() {
			set = append(set, state.Shared(state.Forwarding6{}))
			continue
		}
		set = append(set, state.Shared(state.Sysctl{In: state.Host, Key: "net/ipv4/ip_forward", Value: "1"}))
	}
	set = append(set, ruleset.ForwardPath{Link: network.Device.Name})
	if c.Agent != "" {
		set = append(set, vxlan.Agent{Socket: c.Agent, Network: network.Device.Network})
	}
	return set
}

// hostEnd makes the host the container's gateway.
func (c conf) hostEnd(r attach.Request, network vxlan.Overlay, lease attach.Lease) vxlan.HostEnd {
	end := vxlan.HostEnd{Owner: r.Owner, Network: network.Device.Name}
	for _, ip := range lease.IPs {
		end.Addresses = append(end.Addresses, ip.Prefix.Addr())
		if ip.Gateway.IsValid() && !slices.Contains(end.Gateways, ip.Gateway) {
			end.Gateways = append(end.Gateways, ip.Gateway)
		}
	}
	return end
}

// masquerade spares the whole network, not only the host's blocks.
func (c conf) masquerade(r attach.Request, lease attach.Lease) ruleset.Masquerade {
	m := ruleset.Masquerade{Owner: r.Owner, Link: r.Owner.HostLink(), Off: !c.masquerades()}
	for _, ip := range lease.IPs {
		if subnet, ok := c.subnetOf(ip.Prefix.Addr()); ok {
			m.Prefixes = append(m.Prefixes, netip.PrefixFrom(ip.Prefix.Addr(), subnet.Bits()))
		}
	}
	return m
}

func (c conf) masquerades() bool { return c.network.IPMasq && !c.network.Internal }

func (c conf) subnetOf(addr netip.Addr) (netip.Prefix, bool) {
	i := slices.IndexFunc(c.network.Subnets, func(s netip.Prefix) bool { return s.Contains(addr) })
	if i < 0 {
		return netip.Prefix{}, false
	}
	return c.network.Subnets[i], true
}

// gateway6 is what every host answers for on the links of its containers.
var gateway6 = netip.MustParseAddr("fe80::1")

// scopeLink is the scope of a destination on the link itself (RT_SCOPE_LINK, rtnetlink(7)).
var scopeLink = 253

// route makes each address one of a single host, and routes everything through the gateway: there is no segment.
func (c conf) route(r attach.Request, lease attach.Lease) attach.Lease {
	lease.IPs, lease.Routes = slices.Clone(lease.IPs), slices.Clone(lease.Routes)
	if c.network.Internal {
		lease.Routes = slices.DeleteFunc(lease.Routes, func(r attach.Route) bool { return r.Dst.Bits() == 0 })
	}
	var routes []attach.Route
	for i, ip := range lease.IPs {
		addr := ip.Prefix.Addr()
		if addr.Is6() {
			ip.Gateway = gateway6
		}
		ip.Prefix = netip.PrefixFrom(addr, addr.BitLen())
		lease.IPs[i] = ip
		routes = append(routes, c.routesThrough(addr, ip.Gateway)...)
	}
	if r.Recorded {
		// Those that are recorded: a later plugin of the chain may have removed others.
		routes = slices.DeleteFunc(routes, func(own attach.Route) bool { return !leadsTo(lease.Routes, own.Dst) })
	}
	// A recorded lease has these routes already, in older versions of CNI without their scope.
	lease.Routes = slices.DeleteFunc(lease.Routes, func(r attach.Route) bool { return leadsTo(routes, r.Dst) })
	lease.Routes = append(routes, lease.Routes...)
	return lease
}

func leadsTo(routes []attach.Route, dst netip.Prefix) bool {
	return slices.ContainsFunc(routes, func(r attach.Route) bool { return r.Dst == dst })
}

// routesThrough leads to the gateway of an address, the network, and unless it is internal everything else.
func (c conf) routesThrough(addr, gateway netip.Addr) []attach.Route {
	if !gateway.IsValid() {
		return nil
	}
	routes := []attach.Route{{Dst: netip.PrefixFrom(gateway, gateway.BitLen()), Scope: &scopeLink}}
	if subnet, ok := c.subnetOf(addr); ok {
		routes = append(routes, attach.Route{Dst: subnet, GW: gateway})
	}
	if c.network.Internal {
		return routes
	}
	everything := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if addr.Is6() {
		everything = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return append(routes, attach.Route{Dst: everything, GW: gateway})
}
