package main

import (
	"net/netip"
	"slices"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/predecessor"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
)

// scopeLink is the scope of a destination on the link itself (RT_SCOPE_LINK, rtnetlink(7)).
var scopeLink = 253

// plan declares a veth, whose end on the host has the gateway's address, and a route from either end to the other.
func plan(c conf, r attach.Request, lease attach.Lease) (state.Set, attach.Result) {
	lease = withGateways(lease)
	var set state.Set
	if c.IPMasqBackend == "iptables" {
		set = append(set, state.Warning{Text: "ipMasqBackend iptables: uses nftables instead, both work side by side"})
	}
	set = append(set, forwarding(lease)...)
	link := attach.ContainerLink{Name: r.Owner.IfName}
	set = append(set, state.Veth{Owner: r.Owner, MAC: r.MAC(c.mac), RecordedMAC: r.RecordedMAC, RecordedHostLink: r.RecordedHostLink, MTU: c.MTU, IPv6: link.IPv6()})
	set = append(set, hostEnd(r.HostLink(), lease)...)
	set = append(set, link.Configure(routed(lease, r.OfAnotherSuite()))...)
	set = append(set, c.rules(r, lease)...)
	return set, attach.Result{Lease: lease, Interfaces: []attach.Interface{
		{Name: r.Owner.HostLink(), In: state.Host}, {Name: r.Owner.IfName, In: state.Container},
	}}
}

// rules is what translates the container's packets, or is not to: the keys may have changed. Another suite's attachment has that suite's
// rules.
func (c conf) rules(r attach.Request, lease attach.Lease) state.Set {
	if r.OfAnotherSuite() && !r.Removal {
		return nil
	}
	masquerade := ruleset.Masquerade{Owner: r.Owner, Link: r.Owner.HostLink(), Off: !c.IPMasq}
	for _, ip := range lease.IPs {
		masquerade.Prefixes = append(masquerade.Prefixes, ip.Prefix)
	}
	set := state.Set{masquerade}
	if r.Removal {
		set = append(set, predecessor.Attached{Owner: r.Owner})
	}
	if c.Publishes() || r.Removal {
		set = append(set, attach.Published(r.Owner, r.Owner.HostLink(), lease, c.ports))
	}
	return set
}

// forwarding makes the host a router of the families that the container has.
func forwarding(lease attach.Lease) state.Set {
	var set state.Set
	for _, family := range []struct {
		is6 bool
		key string
	}{{false, "net/ipv4/ip_forward"}, {true, "net/ipv6/conf/all/forwarding"}} {
		if slices.ContainsFunc(lease.IPs, func(ip attach.IP) bool { return ip.Prefix.Addr().Is6() == family.is6 }) {
			set = append(set, state.Shared(state.Sysctl{In: state.Host, Key: family.key, Value: "1"}))
		}
	}
	return set
}

// hostEnd gives the host's end the gateways, and leads what is for the container there. Both go with it.
func hostEnd(link string, lease attach.Lease) state.Set {
	var set state.Set
	var seen []netip.Addr
	for _, ip := range lease.IPs {
		if ip.Gateway.IsValid() && !slices.Contains(seen, ip.Gateway) {
			seen = append(seen, ip.Gateway)
			set = append(set, state.Address{In: state.Host, Link: link, Prefix: state.HostPrefix(ip.Gateway)})
		}
		set = append(set, state.Route{In: state.Host, Link: link, Dst: state.HostPrefix(ip.Prefix.Addr())})
	}
	return set
}

// withGateways gives an address without one the first of its subnet, the usual gateway.
func withGateways(lease attach.Lease) attach.Lease {
	lease.IPs = slices.Clone(lease.IPs)
	for i, ip := range lease.IPs {
		if !ip.Gateway.IsValid() && !ip.Prefix.IsSingleIP() {
			lease.IPs[i].Gateway = ip.Prefix.Masked().Addr().Next()
		}
	}
	return lease
}

// routed is the lease as the container's interface has it: an address by itself, and the subnet behind the gateway, as there is
// no segment. By another suite, the address has its subnet.
func routed(lease attach.Lease, ofAnother bool) attach.Lease {
	var routes []attach.Route
	lease.IPs = slices.Clone(lease.IPs)
	for i, ip := range lease.IPs {
		if ip.Gateway.IsValid() {
			routes = append(routes, attach.Route{Dst: state.HostPrefix(ip.Gateway), Scope: &scopeLink})
			if !ip.Prefix.IsSingleIP() {
				routes = append(routes, attach.Route{Dst: ip.Prefix.Masked(), GW: ip.Gateway})
			}
		}
		if !ofAnother {
			lease.IPs[i].Prefix = state.HostPrefix(ip.Prefix.Addr())
		}
	}
	lease.Routes = append(routes, lease.Routes...)
	return lease
}
