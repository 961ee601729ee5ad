package blueprint

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/hostlocal"
)

// A section is one range of host-local.
type section struct {
	Subnet     netip.Prefix `json:"subnet"`
	RangeStart netip.Addr   `json:"rangeStart,omitzero"`
	RangeEnd   netip.Addr   `json:"rangeEnd,omitzero"`
	Gateway    netip.Addr   `json:"gateway,omitzero"`
}

type route struct {
	Dst netip.Prefix `json:"dst"`
}

// hostLocal is the configuration of host-local.
type hostLocal struct {
	Type   string      `json:"type"`
	Ranges [][]section `json:"ranges"`
	Routes []route     `json:"routes,omitempty"`
}

// isHost says whether an address of a subnet can be that of a machine.
func isHost(subnet netip.Prefix, addr netip.Addr) bool {
	whole := hostlocal.DefaultRange(subnet)
	return whole.Start.Compare(addr) <= 0 && addr.Compare(whole.End) <= 0
}

// allocator is the configuration of host-local for the pools: an address of each family. Default routes go through the
// gateways of those pools that have one, unless the network is internal.
func allocator(all []conflist.Pool, internal bool) (hostLocal, error) {
	conf := hostLocal{Type: "host-local"}
	for _, unspecified := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		var set []section
		routed := false
		for _, pool := range all {
			if pool.Subnet.Addr().Is4() != unspecified.Is4() {
				continue
			}
			sections, err := sections(pool)
			if err != nil {
				return hostLocal{}, err
			}
			set = append(set, sections...)
			routed = routed || pool.Gateway.IsValid()
		}
		if len(set) > 0 {
			conf.Ranges = append(conf.Ranges, set)
		}
		if routed && !internal {
			conf.Routes = append(conf.Routes, route{netip.PrefixFrom(unspecified, 0)})
		}
	}
	return conf, nil
}

// sections cuts a pool into the ranges between its auxiliary addresses, which host-local has no key for.
func sections(pool conflist.Pool) ([]section, error) {
	if !pool.Range.IsValid() && len(pool.Aux) == 0 {
		return []section{{Subnet: pool.Subnet, Gateway: pool.Gateway}}, nil
	}
	whole := hostlocal.DefaultRange(pool.Subnet)
	start, end := whole.Start, whole.End
	if pool.Range.IsValid() {
		if first := pool.Range.Addr(); start.Less(first) {
			start = first
		}
		if last := hostlocal.LastAddr(pool.Range); last.Less(end) {
			end = last
		}
	}
	var parts []section
	add := func(start, end netip.Addr) {
		if start.IsValid() && !end.Less(start) && !(start == end && start == pool.Gateway) {
			parts = append(parts, section{Subnet: pool.Subnet, RangeStart: start, RangeEnd: end, Gateway: pool.Gateway})
		}
	}
	for _, aux := range sorted(pool) {
		if aux.Less(start) || end.Less(aux) {
			continue
		}
		if start.Less(aux) {
			add(start, aux.Prev())
		}
		start = aux.Next()
	}
	add(start, end)
	if len(parts) == 0 {
		return nil, fmt.Errorf("no address of subnet %s is left for containers: widen the ip-range, or give fewer aux-addresses", pool.Subnet)
	}
	return parts, nil
}

func sorted(pool conflist.Pool) []netip.Addr {
	var all []netip.Addr
	for _, addr := range pool.Aux {
		all = append(all, addr)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

// firstFree is the first address of a pool's subnet that is nobody's yet, for the gateway. In a subnet of one address
// there is none.
func firstFree(pool conflist.Pool) netip.Addr {
	whole, aux := hostlocal.DefaultRange(pool.Subnet), sorted(pool)
	if whole.Start == whole.End {
		return netip.Addr{}
	}
	for addr := whole.Start; addr.IsValid() && !whole.End.Less(addr); addr = addr.Next() {
		if !slices.Contains(aux, addr) {
			return addr
		}
	}
	return netip.Addr{}
}
