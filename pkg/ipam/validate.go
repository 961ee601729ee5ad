package ipam

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
)

// addressFrom reads an entry of a result's ips. The error begins with the key.
func addressFrom(ip *types100.IPConfig) (IP, error) {
	if ip.Address.IP == nil {
		return IP{}, errors.New(" has no address")
	}
	prefix, err := prefixFrom(ip.Address)
	if err != nil {
		return IP{}, fmt.Errorf(".address %w", err)
	}
	if addr := prefix.Addr(); addr.IsUnspecified() || addr.IsMulticast() || addr == broadcast {
		return IP{}, fmt.Errorf(".address %s is not one of an interface", addr)
	}
	gateway, err := nextHopFrom(ip.Gateway, prefix.Addr())
	if err != nil {
		return IP{}, fmt.Errorf(".gateway %w", err)
	}
	if gateway.IsUnspecified() {
		gateway = netip.Addr{}
	}
	return IP{Prefix: prefix, Gateway: gateway}, nil
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// routeFrom reads a route of a result. The error begins with the key.
func routeFrom(r *types.Route) (Route, error) {
	if r.Dst.IP == nil {
		return Route{}, errors.New(" has no dst")
	}
	dst, err := prefixFrom(r.Dst)
	if err != nil {
		return Route{}, fmt.Errorf(".dst %w", err)
	}
	gw, err := nextHopFrom(r.GW, dst.Addr())
	if err != nil {
		return Route{}, fmt.Errorf(".gw %w", err)
	}
	for _, n := range []struct {
		key         string
		value, most int
	}{
		{"mtu", r.MTU, math.MaxUint32}, {"advmss", r.AdvMSS, math.MaxUint32}, {"priority", r.Priority, math.MaxUint32},
		{"table", valueOf(r.Table), math.MaxUint32}, {"scope", valueOf(r.Scope), math.MaxUint8},
	} {
		if n.value < 0 || n.value > n.most {
			return Route{}, fmt.Errorf(".%s is %d, not one of 0 to %d", n.key, n.value, n.most)
		}
	}
	route := Route{Dst: dst, GW: gw, MTU: r.MTU, AdvMSS: r.AdvMSS, Priority: r.Priority, Table: r.Table, Scope: r.Scope}
	if gw.IsUnspecified() {
		route.GW, route.Scope = netip.Addr{}, onLink(r.Scope)
	}
	return route, nil
}

// onLink is the scope of a route whose next hop is the unspecified address: the kernel takes it for none, and so it does not
// stand for the gateway of the addresses.
func onLink(scope *int) *int {
	if scope != nil {
		return scope
	}
	link := 253 // RT_SCOPE_LINK, rtnetlink(7)
	return &link
}

// prefixFrom reads a prefix of the CNI library, which lets IPv4 addresses in the form of IPv6 pass, with the length of IPv6.
func prefixFrom(n net.IPNet) (netip.Prefix, error) {
	addr, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	switch {
	case !ok || bits == 0:
		return netip.Prefix{}, fmt.Errorf("%s is no address with a length", &n)
	case addr.Is4In6() && bits == 8*net.IPv4len:
		addr = addr.Unmap()
	case addr.Is4In6():
		return netip.Prefix{}, fmt.Errorf("%s/%d is of IPv4 in the form of IPv6: it has to be %s", addr, ones, addr.Unmap())
	}
	if bits != addr.BitLen() {
		return netip.Prefix{}, fmt.Errorf("%s has a mask of %d bits, not %d", addr, bits, addr.BitLen())
	}
	return netip.PrefixFrom(addr, ones), nil
}

// nextHopFrom reads a next hop for addresses of a family. The zero address is none; the unspecified one is its caller's.
func nextHopFrom(ip net.IP, family netip.Addr) (netip.Addr, error) {
	if len(ip) == 0 {
		return netip.Addr{}, nil
	}
	addr, ok := netip.AddrFromSlice(ip)
	if !ok {
		return netip.Addr{}, fmt.Errorf("%x is no address", []byte(ip))
	}
	addr = addr.Unmap()
	if addr.Is4() != family.Is4() {
		return netip.Addr{}, fmt.Errorf("%s is not of the family of %s", addr, family)
	}
	if addr.IsMulticast() || addr == broadcast {
		return netip.Addr{}, fmt.Errorf("%s is not the address of a router", addr)
	}
	return addr, nil
}

// valueOf is what a pointer leads to; zero when it is nil.
func valueOf(p *int) int {
	if p == nil {
		return 0
	}
	return *p
}
