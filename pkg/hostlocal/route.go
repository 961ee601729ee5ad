package hostlocal

import (
	"fmt"
	"net/netip"
)

// Route is passed on to the result as configured. The keys are those of CNI 1.1.0.
type Route struct {
	Dst      netip.Prefix `json:"dst"`
	GW       netip.Addr   `json:"gw,omitzero"`        // zero: the gateway of the address
	MTU      int          `json:"mtu,omitempty"`      // bytes; 0: that of the link
	AdvMSS   int          `json:"advmss,omitempty"`   // bytes; 0: from the MTU
	Priority int          `json:"priority,omitempty"` // lower wins; 0: the kernel's default
	Table    *int         `json:"table,omitempty"`    // nil: main
	Scope    *int         `json:"scope,omitempty"`    // nil: global
}

type routeSection struct {
	Dst      string `json:"dst"`
	GW       string `json:"gw"`
	MTU      int    `json:"mtu"`
	AdvMSS   int    `json:"advmss"`
	Priority int    `json:"priority"`
	Table    *int   `json:"table"`
	Scope    *int   `json:"scope"`
}

// v4InV6 is the length of the prefix in which IPv6 has the addresses of IPv4.
const v4InV6 = 96

func parseRoutes(sections []routeSection) ([]Route, error) {
	var routes []Route
	for i, section := range sections {
		r, err := section.parse(fmt.Sprintf("ipam.routes[%d]", i))
		if err != nil {
			return nil, err
		}
		routes = append(routes, r)
	}
	return routes, nil
}

func (s routeSection) parse(key string) (Route, error) {
	if s.Dst == "" {
		return Route{}, invalidf("%s.dst is missing: add a destination like 0.0.0.0/0", key)
	}
	dst, err := parsePrefix(s.Dst)
	if err != nil {
		return Route{}, invalidf("%s.dst %q is not a destination: write one like 0.0.0.0/0 or fd00::/8", key, s.Dst)
	}
	if dst.Addr().Is4In6() && dst.Bits() >= v4InV6 {
		dst = netip.PrefixFrom(dst.Addr().Unmap(), dst.Bits()-v4InV6)
	}
	r := Route{Dst: dst, MTU: s.MTU, AdvMSS: s.AdvMSS, Priority: s.Priority, Table: s.Table, Scope: s.Scope}
	if s.GW == "" {
		return r, nil
	}
	r.GW, err = parseAddr(key+".gw", s.GW)
	return r, err
}
