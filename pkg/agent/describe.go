package agent

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/registry"
)

// describe is what a host at an address of the underlay has of a network, in a stable order: what others wrote and cannot be
// is left out, and named.
func describe(n *registry.Network, node string, vtep netip.Addr) (snapshot, []overlay.Fault) {
	blocks, faults := fittingBlocks(n)
	hosts := overlay.Hosts{Self: vtep, Peers: []overlay.Peer{{Node: node, VTEP: vtep, Blocks: blocks[node]}}}
	at := map[netip.Addr]int{vtep: 0}
	for _, name := range slices.Sorted(maps.Keys(n.Nodes)) {
		if name == node {
			continue
		}
		peer := overlay.Peer{Node: name, VTEP: n.Nodes[name].VTEP, Blocks: blocks[name]}
		if i, there := at[peer.VTEP]; there && i > 0 && n.Nodes[name].BootID == n.Nodes[hosts.Peers[i].Node].BootID {
			// A host that was given another name has two records until the old one is reclaimed.
			hosts.Peers[i].Blocks = append(slices.Clone(hosts.Peers[i].Blocks), peer.Blocks...)
			continue
		}
		at[peer.VTEP] = len(hosts.Peers)
		hosts.Peers = append(hosts.Peers, peer)
	}
	known := make(map[string]netip.Addr)
	for _, p := range hosts.Peers {
		known[p.Node] = p.VTEP
	}
	for _, addr := range slices.SortedFunc(maps.Keys(n.Pins), netip.Addr.Compare) {
		if at, ok := known[n.Pins[addr].Node]; ok {
			hosts.Pins = append(hosts.Pins, overlay.Pin{Address: addr, VTEP: at})
		}
	}
	admitted, more := model(n.Definition).Admit(hosts)
	return snapshot{definition: n.Definition, created: n.Created, hosts: admitted}, append(faults, more...)
}

// fittingBlocks are the blocks of all nodes that the network can be divided into.
func fittingBlocks(n *registry.Network) (map[string][]netip.Prefix, []overlay.Fault) {
	var faults []overlay.Fault
	blocks := n.BlocksByNode()
	for _, node := range slices.Sorted(maps.Keys(blocks)) {
		if !slices.ContainsFunc(blocks[node], func(b netip.Prefix) bool { return !n.Divides(b) }) {
			continue
		}
		var fitting []netip.Prefix
		for _, block := range blocks[node] {
			if n.Divides(block) {
				fitting = append(fitting, block)
				continue
			}
			faults = append(faults, overlay.Fault{
				Entry: fmt.Sprintf("block %s of host %s", block, node), Reason: "the network is not divided into such blocks: delete its key in etcd",
			})
		}
		blocks[node] = fitting
	}
	return blocks, faults
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
