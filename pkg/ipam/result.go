package ipam

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
)

// NullIn names a list of a result that holds a null; it is empty when none does. The CNI library reads a null as a nil
// pointer, which its conversions of older results follow.
func NullIn(document []byte) (key string, err error) {
	var lists struct {
		Interfaces, IPs, Routes []*struct{}
	}
	if err := json.Unmarshal(document, &lists); err != nil {
		return "", err
	}
	switch {
	case slices.Contains(lists.Interfaces, nil):
		return "interfaces", nil
	case slices.Contains(lists.IPs, nil):
		return "ips", nil
	case slices.Contains(lists.Routes, nil):
		return "routes", nil
	}
	return "", nil
}

// FromResult is the lease within a result: its addresses, routes and DNS. An error names the entry that no kernel can have.
func FromResult(r *types100.Result) (Lease, error) {
	lease := Lease{DNS: r.DNS}
	for i, ip := range r.IPs {
		address, err := addressFrom(ip)
		if err != nil {
			return Lease{}, fmt.Errorf("ips[%d]%w", i, err)
		}
		lease.IPs = append(lease.IPs, address)
	}
	for i, route := range r.Routes {
		route, err := routeFrom(route)
		if err != nil {
			return Lease{}, fmt.Errorf("routes[%d]%w", i, err)
		}
		lease.Routes = append(lease.Routes, route)
	}
	return lease, nil
}

// Masked is the lease with routes to networks, not to addresses of them: the kernel refuses bits of the host in IPv4, and
// drops them in IPv6.
func (l Lease) Masked() Lease {
	l.Routes = slices.Clone(l.Routes)
	for i, route := range l.Routes {
		l.Routes[i].Dst = route.Dst.Masked()
	}
	return l
}

// Addresses are those of the lease, without the length of their subnets.
func (l Lease) Addresses() []netip.Addr {
	var all []netip.Addr
	for _, ip := range l.IPs {
		all = append(all, ip.Prefix.Addr())
	}
	return all
}

// Into writes the lease into a result. Addresses belong to no interface yet.
func (l Lease) Into(r *types100.Result) {
	r.DNS = l.DNS
	for _, ip := range l.IPs {
		config := &types100.IPConfig{Address: ipNet(ip.Prefix)}
		if ip.Gateway.IsValid() {
			config.Gateway = ip.Gateway.AsSlice()
		}
		r.IPs = append(r.IPs, config)
	}
	for _, route := range l.Routes {
		t := &types.Route{
			Dst: ipNet(route.Dst), MTU: route.MTU, AdvMSS: route.AdvMSS,
			Priority: route.Priority, Table: route.Table, Scope: route.Scope,
		}
		if route.GW.IsValid() {
			t.GW = route.GW.AsSlice()
		}
		r.Routes = append(r.Routes, t)
	}
}

func ipNet(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
