package ipam

import (
	"encoding/json"
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

// FromResult is the lease within a result: its addresses, routes and DNS.
func FromResult(r *types100.Result) Lease {
	lease := Lease{DNS: r.DNS}
	for _, ip := range r.IPs {
		gateway, _ := netip.AddrFromSlice(ip.Gateway)
		lease.IPs = append(lease.IPs, IP{Prefix: prefix(ip.Address), Gateway: gateway.Unmap()})
	}
	for _, route := range r.Routes {
		gw, _ := netip.AddrFromSlice(route.GW)
		lease.Routes = append(lease.Routes, Route{
			Dst: prefix(route.Dst), GW: gw.Unmap(), MTU: route.MTU, AdvMSS: route.AdvMSS,
			Priority: route.Priority, Table: route.Table, Scope: route.Scope,
		})
	}
	return lease
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

func prefix(n net.IPNet) netip.Prefix {
	addr, _ := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if addr.Is4In6() && bits == 8*net.IPv4len {
		addr = addr.Unmap()
	}
	return netip.PrefixFrom(addr, ones)
}

func ipNet(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
