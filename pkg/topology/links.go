package topology

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/fairway-cni/fairway/pkg/snapshot"
)

// links adds the links of the host, but for lo, the host ends of containers' interfaces, and what is down and serves
// nothing.
func (b *builder) links() {
	for _, l := range b.host.Links {
		_, isEnd := b.ends[l.Index]
		if l.Kind == "loopback" || isEnd || b.idle(l) {
			continue
		}
		n := Node{ID: linkID(l.Name), Kind: kindOf(l), Name: l.Name, Type: l.Kind, Addrs: l.Global(), MTU: l.MTU, Down: !l.Up}
		if l.Mode != "" {
			n.mark(l.Mode)
		}
		if n.Kind == VXLAN {
			n.mark(fmt.Sprintf("VNI %d", l.VXLAN.VNI))
			if l.VXLAN.Local.IsValid() {
				n.mark("VTEP " + l.VXLAN.Local.String())
			}
			for _, a := range n.Addrs {
				n.mark("address " + a.Addr().String())
			}
			n.Addrs = b.ownBlocks(l)
		}
		b.describe(&n)
		b.add(n)
	}
}

func kindOf(l snapshot.Link) Kind {
	switch l.Kind {
	case "bridge":
		return Bridge
	case "vxlan":
		return VXLAN
	}
	return Link
}

// describe adds the networks of a link, and what they say of it.
func (b *builder) describe(n *Node) {
	for _, network := range b.facts.Networks {
		if network.Link != n.Name || network.Type != "bridge" && network.Type != "overlay-vxlan" {
			continue
		}
		n.belong(network.Name)
		n.mark(network.Marks...)
	}
	if b.covers(n.Addrs) {
		n.mark(Masquerade)
	}
}

// idle says whether a link is down, without an address, and nothing stands on it: the kernel makes such ones with modules.
func (b *builder) idle(l snapshot.Link) bool {
	if l.Up || len(l.Addrs) > 0 || l.Master != 0 || l.Kind == "device" || l.Kind == "bridge" {
		return false
	}
	return !slices.ContainsFunc(b.host.Links, func(other snapshot.Link) bool {
		return other.Master == l.Index || other.Lower == l.Index && other.LowerIn == snapshot.None
	}) && !b.carries(l)
}

// carries says whether a segment of containers stands on a link.
func (b *builder) carries(l snapshot.Link) bool {
	return slices.ContainsFunc(b.graph.Edges, func(e Edge) bool { return e.From == linkID(l.Name) })
}

// ownBlocks are the unreachable routes within the subnets of an overlay, by which the host keeps its own blocks' unused
// addresses from looping.
func (b *builder) ownBlocks(l snapshot.Link) []netip.Prefix {
	var blocks []netip.Prefix
	for _, network := range b.facts.Networks {
		if network.Link != l.Name {
			continue
		}
		for _, r := range b.host.Routes {
			// The subnet as a whole is unreachable as well, so that what no host owns goes nowhere.
			if r.Kind != "unicast" && slices.ContainsFunc(network.Subnets, func(s netip.Prefix) bool { return s.Overlaps(r.Dst) && r.Dst.Bits() > s.Bits() }) {
				blocks = append(blocks, r.Dst)
			}
		}
	}
	return blocks
}

// stacks joins the links of the host with each other: what stands on what, and the ports of bridges.
func (b *builder) stacks() {
	for _, l := range b.host.Links {
		if _, ok := b.at[linkID(l.Name)]; !ok {
			continue
		}
		if lower, ok := b.under(l); ok {
			if kind := Below; l.Kind == "veth" {
				if l.Index < lower.Index {
					b.join(linkID(l.Name), linkID(lower.Name), Pair, "")
				}
			} else {
				b.join(linkID(lower.Name), linkID(l.Name), kind, "")
			}
		}
		if master, ok := b.host.LinkAt(l.Master); ok {
			b.join(linkID(master.Name), linkID(l.Name), Port, portLabel(l))
		}
	}
}

// under is the link of the host that a link stands on. A VXLAN device without one uses that of its VTEP.
func (b *builder) under(l snapshot.Link) (snapshot.Link, bool) {
	if l.LowerIn != snapshot.None {
		return snapshot.Link{}, false
	}
	if l.Lower == 0 && l.VXLAN.Local.IsValid() {
		for _, other := range b.host.Links {
			if slices.ContainsFunc(other.Addrs, func(p netip.Prefix) bool { return p.Addr() == l.VXLAN.Local }) && other.Kind != "loopback" {
				return other, true
			}
		}
	}
	lower, ok := b.host.LinkAt(l.Lower)
	_, drawn := b.at[linkID(lower.Name)]
	return lower, ok && drawn
}

func portLabel(l snapshot.Link) string {
	if l.Isolated {
		return "isolated port"
	}
	return ""
}

// attach joins the containers' interfaces with what their host ends are ports of, or are routed to.
func (b *builder) attach() {
	for _, l := range b.host.Links {
		e, ok := b.ends[l.Index]
		if !ok {
			continue
		}
		if e.network == "" {
			e.network = b.networkOf(l)
			b.node(e.id).belong(e.network)
		}
		to := b.routedGroup(l, e.network)
		if master, ok := b.host.LinkAt(l.Master); ok {
			to = linkID(master.Name)
			b.node(to).belong(e.network)
		}
		b.join(to, e.id, Attached, portLabel(l))
	}
}

// networkOf tells the network of a host end by its alias.
func (b *builder) networkOf(l snapshot.Link) string {
	for _, a := range b.facts.Attachments {
		if a.Tag != "" && a.Tag == l.Alias {
			return a.Network
		}
	}
	return ""
}
