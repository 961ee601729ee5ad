package agent

import (
	"log/slog"
	"maps"
	"net/netip"
	"slices"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/registry"
)

// describe is what a host at an address of the underlay knows of a network, in a stable order.
func describe(n *registry.Network, node string, vtep netip.Addr) snapshot {
	hosts, blocks := overlay.Hosts{Self: vtep}, n.BlocksByNode()
	for _, name := range slices.Sorted(maps.Keys(n.Nodes)) {
		if name == node {
			continue
		}
		peer := overlay.Peer{Node: name, VTEP: n.Nodes[name].VTEP, Blocks: blocks[name]}
		hosts.Peers = admit(hosts.Peers, peer, vtep)
	}
	hosts.Peers = append(hosts.Peers, overlay.Peer{Node: node, VTEP: vtep, Blocks: blocks[node]})
	known := make(map[string]netip.Addr)
	for _, p := range hosts.Peers {
		known[p.Node] = p.VTEP
	}
	for _, addr := range slices.SortedFunc(maps.Keys(n.Pins), netip.Addr.Compare) {
		if at, ok := known[n.Pins[addr].Node]; ok {
			hosts.Pins = append(hosts.Pins, overlay.Pin{Address: addr, VTEP: at})
		}
	}
	return snapshot{definition: n.Definition, created: n.Created, hosts: hosts}
}

// admit appends a peer that the host can reach. A host that was given another name has two records until the old one is
// reclaimed: as both are at one address, they are one peer.
func admit(peers []overlay.Peer, p overlay.Peer, self netip.Addr) []overlay.Peer {
	switch {
	case !p.VTEP.IsValid():
		return peers
	case p.VTEP == self:
		slog.Debug("another node has this host's address", "node", p.Node, "vtep", p.VTEP)
		return peers
	case p.VTEP.Is4() != self.Is4():
		slog.Warn("a peer has an underlay of the other family, and is not reached", "node", p.Node, "vtep", p.VTEP)
		return peers
	}
	at := slices.IndexFunc(peers, func(other overlay.Peer) bool { return other.VTEP == p.VTEP })
	if at < 0 {
		return append(peers, p)
	}
	peers[at].Blocks = append(slices.Clone(peers[at].Blocks), p.Blocks...)
	return peers
}

// needsBlock says whether a host should own one more block of a subnet: it has none, or less than a quarter of one is left.
// So the next containers find one when etcd is away.
func needsBlock(subnet agentapi.Subnet, own []netip.Prefix, reserved []netip.Addr) bool {
	capacity, blocks := 0, 0
	each := capacityOf(subnet)
	for _, block := range own {
		if subnet.Prefix.Overlaps(block) {
			capacity, blocks = capacity+each, blocks+1
		}
	}
	for _, addr := range reserved {
		if slices.ContainsFunc(own, func(b netip.Prefix) bool { return b.Contains(addr) && subnet.Prefix.Contains(addr) }) {
			capacity--
		}
	}
	return blocks == 0 || capacity*4 < each
}

// capacityOf is how many containers have room in a block: all of its addresses but the first, which is the host's. It
// stops counting where no host gets to.
func capacityOf(subnet agentapi.Subnet) int {
	const enough = 16
	bits := subnet.Prefix.Addr().BitLen() - subnet.BlockLength
	return 1<<min(bits, enough) - 1
}
