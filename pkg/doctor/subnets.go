package doctor

import (
	"context"
	"net/netip"
	"slices"

	"github.com/fairway-cni/fairway/pkg/driver"
	"github.com/fairway-cni/fairway/pkg/snapshot"
	"github.com/fairway-cni/fairway/pkg/topology"
)

// checkSubnets compares the networks' subnets with each other and with the routes of the host: packets for the same address
// can go one way only.
func checkSubnets(_ context.Context, h *Host) ([]Finding, error) {
	var findings []Finding
	foreign := h.foreignRoutes()
	for i, a := range h.described {
		for _, b := range h.described[:i] {
			findings = append(findings, overlap(h, b, a)...)
		}
		for _, r := range foreign {
			findings = append(findings, h.besideRoute(a, r)...)
		}
	}
	return findings, nil
}

// overlap compares two networks. Macvlans are of the physical network, which several may share.
func overlap(h *Host, a, b topology.Network) []Finding {
	if a.Link == b.Link && a.Link != "" || !onHost(a) || !onHost(b) {
		return nil
	}
	var findings []Finding
	for _, s := range a.Subnets {
		for _, other := range b.Subnets {
			if s.Overlaps(other) {
				findings = append(findings, errorf("subnet %s of network %s overlaps %s of network %s", s, a.Name, other, b.Name).
					remedy("give one of them another subnet: %s or %s", fileOf(h.Networks, a.Name), fileOf(h.Networks, b.Name)))
			}
		}
	}
	return findings
}

// onHost says whether the host has the subnets of a network on a link of its own.
func onHost(n topology.Network) bool { return driver.Of(n.Type).OnHost }

// foreignRoute is a route of the host's that is of no network.
type foreignRoute struct {
	dst  netip.Prefix
	link string
}

// foreignRoutes are those by links of no network.
func (h *Host) foreignRoutes() (foreign []foreignRoute) {
	ofNetwork := make(map[string]bool) // links which are compared as networks
	for _, n := range h.described {
		ofNetwork[n.Link] = ofNetwork[n.Link] || onHost(n)
	}
	for _, r := range h.Snapshot.Routes {
		link, ok := h.Snapshot.LinkAt(r.Link)
		// A veth leads to a container; its subnet, if it is another's, is compared with that network.
		const halves = 1 // 0.0.0.0/1 and 128.0.0.0/1 stand for the default route of a VPN
		if ok && r.Dst.Bits() > halves && !link.Owned() && !ofNetwork[link.Name] && !r.Dst.Addr().IsLinkLocalUnicast() && !r.Dst.Addr().IsMulticast() {
			foreign = append(foreign, foreignRoute{r.Dst, link.Name})
		}
	}
	return foreign
}

// besideRoute compares a network with a route that is not its own.
func (h *Host) besideRoute(n topology.Network, r foreignRoute) []Finding {
	if !onHost(n) || r.link == n.Link {
		return nil
	}
	var findings []Finding
	for _, s := range n.Subnets {
		if s.Overlaps(r.dst) {
			findings = append(findings, overlapped(n, s, r.dst, r.link).
				remedy("give the network another subnet in %s", fileOf(h.Networks, n.Name)))
		}
	}
	return findings
}

// overlapped: a route that is wider than a subnet leaves the containers their addresses, and them none of those that it leads to.
func overlapped(n topology.Network, subnet, route netip.Prefix, link string) Finding {
	if route.Bits() < subnet.Bits() {
		return warningf("the route to %s by %s leads past subnet %s of network %s: containers reach nobody else who has an address of it", route, link, subnet, n.Name)
	}
	return errorf("subnet %s of network %s overlaps the route to %s by %s", subnet, n.Name, route, link)
}

// ofNetwork says whether a link is that of a network, which is compared as a network.
func (h *Host) ofNetwork(link snapshot.Link) bool {
	return slices.ContainsFunc(h.described, func(n topology.Network) bool { return onHost(n) && n.Link == link.Name })
}
