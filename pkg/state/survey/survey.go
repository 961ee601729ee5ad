// Package survey lists the host's own links and addresses, which a container in the host's namespace shares. It changes
// nothing.
package survey

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Survey is what a container shares that lives in the host's own namespace.
type Survey struct {
	// Links of the host, in the kernel's order.
	Links []HostLink
	// Addresses of global scope. First come those by which the host goes to the outside, IPv4's before IPv6's.
	Addresses []HostAddress
}

// HostLink is a link of the host.
type HostLink struct {
	Name string
	// MAC is empty for a link without one.
	MAC net.HardwareAddr
	// MTU in bytes.
	MTU int
}

// HostAddress is an address of the host.
type HostAddress struct {
	Prefix netip.Prefix
	// Gateway of the default route whose packets leave with this address; the zero address means none.
	Gateway netip.Addr
	// Link is an index of Survey.Links.
	Link int
}

// SurveyHost looks at the host and changes nothing.
func SurveyHost(k *kernel.Kernel) (Survey, error) {
	links, err := kernel.Dump(k.Host.LinkList)
	if err != nil {
		return Survey{}, fmt.Errorf("ip link show: %w", err)
	}
	found, err := kernel.Dump(func() ([]netlink.Addr, error) { return k.Host.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return Survey{}, fmt.Errorf("ip addr show: %w", err)
	}
	var s Survey
	position := make(map[int]int) // of a link's index in s.Links
	for i, link := range links {
		attrs := link.Attrs()
		position[attrs.Index] = i
		s.Links = append(s.Links, HostLink{Name: attrs.Name, MAC: attrs.HardwareAddr, MTU: attrs.MTU})
	}
	exits := k.Host.Exits()
	for _, addr := range found {
		link, known := position[addr.LinkIndex] // one that came after the links were listed is not
		if known && addr.Scope == unix.RT_SCOPE_UNIVERSE && addr.Flags&unix.IFA_F_DADFAILED == 0 {
			prefix := state.PrefixOf(addr.IPNet)
			s.Addresses = append(s.Addresses, HostAddress{Prefix: prefix, Gateway: gatewayOf(prefix.Addr(), exits), Link: link})
		}
	}
	slices.SortStableFunc(s.Addresses, func(a, b HostAddress) int { return cmp.Compare(a.rank(), b.rank()) })
	return s, nil
}

// gatewayOf is the next hop of packets to the outside whose source is an address, or the zero address.
func gatewayOf(source netip.Addr, exits []netlink.Route) netip.Addr {
	for _, exit := range exits {
		if exit.Src.Equal(source.AsSlice()) {
			gateway, _ := netip.AddrFromSlice(exit.Gw) // a default route may have none
			return gateway.Unmap()
		}
	}
	return netip.Addr{}
}

func (a HostAddress) rank() int {
	switch {
	case a.Gateway.Is4():
		return 0
	case a.Gateway.Is6():
		return 1
	}
	return 2
}
