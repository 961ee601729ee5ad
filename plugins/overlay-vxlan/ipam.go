package main

import (
	"encoding/json"
	"net/netip"
	"slices"

	"github.com/fairway-cni/fairway/pkg/overlay"
)

// section is the key ipam as host-local reads it.
type section struct {
	Type       string            `json:"type"`
	DataDir    string            `json:"dataDir,omitempty"`
	ResolvConf string            `json:"resolvConf,omitempty"`
	Routes     []json.RawMessage `json:"routes,omitempty"`
	Ranges     [][]addressRange  `json:"ranges,omitempty"`
}

type addressRange struct {
	Subnet     netip.Prefix `json:"subnet"`
	RangeStart netip.Addr   `json:"rangeStart"`
	RangeEnd   netip.Addr   `json:"rangeEnd"`
	Gateway    netip.Addr   `json:"gateway"`
}

// addressing gives each family a range set of the host's own blocks, and of what is pinned to it and asked for. A host that is to
// join has the subnets instead, of which its blocks will be: host-local is asked whether it works, not for an address.
func addressing(c conf) any {
	s := section{Type: "host-local", DataDir: c.IPAM.DataDir, ResolvConf: c.IPAM.ResolvConf, Routes: c.IPAM.Routes}
	for _, subnet := range c.network.Subnets {
		var set []addressRange
		if c.joins {
			s.Ranges = append(s.Ranges, c.ranges(subnet))
			continue
		}
		for _, block := range c.own.Blocks {
			if subnet.Overlaps(block) && !slices.Contains(c.document.Withheld, block) {
				set = append(set, c.ranges(block)...)
			}
		}
		if len(set) > 0 {
			s.Ranges = append(s.Ranges, append(set, c.pinned(subnet, set[0].Gateway)...))
		}
	}
	return s
}

// ranges is a block without its first address, which is the host's, and without those pinned to other hosts.
func (c conf) ranges(block netip.Prefix) (list []addressRange) {
	gateway := overlay.Gateway(block)
	start, last := gateway.Next(), lastOf(block)
	add := func(end netip.Addr) {
		if start.IsValid() && start.Compare(end) <= 0 {
			list = append(list, addressRange{Subnet: block, RangeStart: start, RangeEnd: end, Gateway: gateway})
		}
	}
	var away []netip.Addr
	for _, p := range c.hosts.Pins {
		if p.VTEP != c.own.VTEP && block.Contains(p.Address) {
			away = append(away, p.Address)
		}
	}
	slices.SortFunc(away, netip.Addr.Compare)
	for _, addr := range away {
		add(addr.Prev())
		start = addr.Next()
	}
	add(last)
	return list
}

// pinned is the addresses of a subnet outside the host's blocks that are pinned to it and asked for: nobody else may get
// one.
func (c conf) pinned(subnet netip.Prefix, gateway netip.Addr) (list []addressRange) {
	for _, p := range c.hosts.Pins {
		inBlock := slices.ContainsFunc(c.own.Blocks, func(b netip.Prefix) bool { return b.Contains(p.Address) })
		if p.VTEP == c.own.VTEP && subnet.Contains(p.Address) && !inBlock && slices.Contains(c.asked, p.Address) {
			list = append(list, addressRange{Subnet: subnet, RangeStart: p.Address, RangeEnd: p.Address, Gateway: gateway})
		}
	}
	return list
}

// lastOf is the last address of a prefix. In a routed network it is one like any other, not a broadcast.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}
