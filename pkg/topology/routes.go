package topology

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/snapshot"
)

// routedGroup is the node to which containers without a bridge belong: their overlay's device, or a group of their own.
// It is empty for a link that is a port.
func (b *builder) routedGroup(l snapshot.Link, network string) string {
	if l.Master != 0 {
		return ""
	}
	for _, n := range b.facts.Networks {
		if n.Name == network && n.Type == "overlay-vxlan" {
			if _, ok := b.at[linkID(n.Link)]; ok {
				return linkID(n.Link)
			}
		}
	}
	name := cmp.Or(network, "point-to-point")
	id := b.add(Node{ID: "routed/" + name, Kind: Routed, Name: name, Type: "routed"})
	b.node(id).belong(network)
	for _, n := range b.facts.Networks {
		if n.Name == network {
			b.node(id).mark(n.Marks...)
		}
	}
	return id
}

// routes adds the next hops of the default routes, and by which links what the host forwards goes out.
func (b *builder) routes() {
	uplinks := make(map[string]bool)
	for _, r := range b.host.Defaults() {
		l, ok := b.host.LinkAt(r.Link)
		if _, drawn := b.at[linkID(l.Name)]; !ok || !drawn {
			continue
		}
		name := "on the link"
		if r.Via.IsValid() {
			name = r.Via.String()
		}
		id := b.add(Node{ID: "gateway/" + l.Name + "/" + name, Kind: Gateway, Name: name})
		label := "default"
		if r.Priority > 0 {
			label = fmt.Sprintf("default metric %d", r.Priority)
		}
		b.join(linkID(l.Name), id, Default, label)
		b.node(linkID(l.Name)).mark("uplink")
		uplinks[linkID(l.Name)] = true
	}
	for _, n := range b.graph.Of(Bridge, VXLAN, Routed) {
		b.forward(n, uplinks)
	}
}

// forward joins what containers hang on with the uplinks, unless it is down, internal, an uplink itself, or a bridge to
// which nobody routes.
func (b *builder) forward(n Node, uplinks map[string]bool) {
	if n.Down || slices.Contains(n.Marks, Internal) || uplinks[n.ID] || len(n.Addrs) == 0 && n.Kind == Bridge {
		return
	}
	label := "routed"
	switch {
	case slices.Contains(n.Marks, Masquerade):
		label = Masquerade
	case len(n.Networks) == 0:
		label = Foreign
	}
	for id := range uplinks {
		b.join(n.ID, id, Forward, label)
	}
}

// peers adds the other hosts of overlays: whose VTEP frames are sent to, and the blocks that are routed there.
func (b *builder) peers() {
	for _, l := range b.host.Links {
		if l.Kind != "vxlan" {
			continue
		}
		for _, f := range b.host.Forwards {
			if f.Link != l.Index {
				continue
			}
			id := b.add(Node{ID: "peer/" + f.To.String(), Kind: Peer, Name: f.To.String()})
			b.node(id).Addrs = append(b.node(id).Addrs, b.blocksBehind(l, f.MAC)...)
			for _, network := range b.node(linkID(l.Name)).Networks {
				b.node(id).belong(network)
			}
			b.join(linkID(l.Name), id, Tunnel, fmt.Sprintf("VNI %d", l.VXLAN.VNI))
		}
	}
	for _, n := range b.graph.Of(Peer) {
		addrs := b.node(n.ID).Addrs
		slices.SortFunc(addrs, comparePrefixes)
		b.node(n.ID).Addrs = slices.Compact(addrs)
	}
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// blocksBehind are the destinations that a VXLAN device sends to a MAC: routes by a neighbour with it.
func (b *builder) blocksBehind(l snapshot.Link, mac string) []netip.Prefix {
	via := make(map[netip.Addr]bool)
	for _, n := range b.host.Neighbours {
		if n.Link == l.Index && strings.EqualFold(n.MAC, mac) {
			via[n.Addr] = true
		}
	}
	var blocks []netip.Prefix
	for _, r := range b.host.Routes {
		if r.Link == l.Index && via[r.Via] {
			blocks = append(blocks, r.Dst)
		}
	}
	return blocks
}

// shared adds the containers that are in the host's own namespace.
func (b *builder) shared() {
	for _, a := range b.facts.Attachments {
		if !b.ofType(a.Network, "host") {
			continue
		}
		id := b.add(Node{ID: "shared", Kind: Shared, Name: "host network"})
		b.node(id).belong(a.Network)
		c := b.add(Node{ID: "container/" + a.ID, Kind: Container, Name: cmp.Or(a.Name, shortened(a.ID))})
		b.join(id, c, Attached, "")
	}
}

func (b *builder) ofType(network, kind string) bool {
	return slices.ContainsFunc(b.facts.Networks, func(n Network) bool { return n.Name == network && n.Type == kind })
}

// unused adds the networks of files that nothing drawn so far belongs to.
func (b *builder) unused() {
	seen := make(map[string]bool)
	for _, n := range b.graph.Nodes {
		for _, network := range n.Networks {
			seen[network] = true
		}
	}
	for _, n := range b.facts.Networks {
		if n.Defined && !seen[n.Name] {
			b.add(Node{ID: "network/" + n.Name, Kind: Unused, Name: n.Name, Type: n.Type, Networks: []string{n.Name}, Addrs: n.Subnets, Marks: n.Marks})
		}
	}
}
