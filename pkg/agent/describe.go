package agent

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/registry"
)

// view is from where a network is described.
type view struct {
	state registry.State
	node  string
	here  underlay
	// key is this host's public one, for encrypted networks, and next what takes its place.
	key, next overlay.Key
	// had are blocks that this host has had: they stay its own until another has them, though the store has lost them.
	had []netip.Prefix
	// hadPins are pins that this host has had: they stay while containers have them, as blocks do.
	hadPins map[netip.Addr]registry.Pin
	// lapsed says that others may have taken this host's blocks before the store went back.
	lapsed bool
	// reserved are the addresses of this host's containers.
	reserved []netip.Addr
	// before is what this host has had of the network, and stays where the store has nothing else: nil, unless it went back a moment
	// ago and others claim again what they had.
	before *snapshot
}

// describe is what a host has of a network, in a stable order: what others wrote and cannot be is left out, and named.
// stranded are addresses of containers that lie in blocks of others.
func (v view) describe(n *registry.Network) (snap snapshot, faults []overlay.Fault, stranded []netip.Addr) {
	vtep := v.here.address
	n = v.trusted(n)
	blocks, faults := fittingBlocks(n)
	own := v.own(n, blocks[v.node])
	hosts := overlay.Hosts{Self: vtep, Peers: []overlay.Peer{{Node: v.node, VTEP: vtep, Blocks: own}}}
	hosts.Peers = append(hosts.Peers, v.peers(n, blocks)...)
	if v.before != nil {
		hosts.Peers = v.unite(n, hosts.Peers)
	}
	if n.Definition.Encrypted {
		faults = append(faults, v.giveKeys(hosts.Peers)...)
	}
	stranded = v.stranded(n, own)
	faults = append(faults, spare(hosts.Peers[1:], stranded)...)
	known := make(map[string]netip.Addr, len(hosts.Peers))
	for _, p := range hosts.Peers {
		known[p.Node] = p.VTEP
	}
	snap = snapshot{definition: n.Definition, created: n.Created, mtu: v.mtu(n), revision: n.Modified, pins: make(map[netip.Addr]registry.Pin)}
	for _, addr := range slices.SortedFunc(maps.Keys(n.Pins), netip.Addr.Compare) {
		pin := n.Pins[addr]
		if at, ok := known[pin.Node]; ok {
			hosts.Pins = append(hosts.Pins, overlay.Pin{Address: addr, VTEP: at})
		}
		if pin.Node == v.node {
			snap.pins[addr] = pin
		}
	}
	v.keepPins(n, &snap, &hosts)
	slices.SortFunc(hosts.Pins, func(a, b overlay.Pin) int { return a.Address.Compare(b.Address) })
	admitted, more := model(n.Definition).Admit(hosts)
	snap.hosts = admitted
	return snap, append(faults, more...), stranded
}

// trusted is a network with the owners of blocks as this host knows them, where the store has records from before it went back: what is
// this host's as far as it knows, and what peers had when it went back. A block that the store gives to this host, which does not
// know of it, or in which an address was pinned, is nobody's: its owner gave it up after that.
func (v view) trusted(n *registry.Network) *registry.Network {
	if len(n.Restored) == 0 {
		return n
	}
	owners := make(map[netip.Prefix]string)
	if v.before != nil {
		for _, peer := range v.before.hosts.Peers {
			for _, block := range peer.Blocks {
				owners[block] = peer.Node
			}
		}
	}
	known := *n
	known.Blocks = maps.Clone(n.Blocks)
	for block := range n.Restored {
		switch before := owners[block]; {
		case v.knows(block):
			known.Blocks[block] = v.node
		case before != "" && before != v.node:
			known.Blocks[block] = before
		case n.Blocks[block] == v.node, v.knowsPinIn(block):
			delete(known.Blocks, block)
		}
	}
	return &known
}

// knows says whether a block is this host's as far as it knows.
func (v view) knows(block netip.Prefix) bool {
	return !v.lapsed && slices.Contains(v.had, block)
}

// knowsPinIn says whether an address of a block is pinned as far as this host knows.
func (v view) knowsPinIn(block netip.Prefix) bool {
	for addr := range v.hadPins {
		if !v.lapsed && block.Contains(addr) && slices.Contains(v.reserved, addr) {
			return true
		}
	}
	return v.before != nil && slices.ContainsFunc(v.before.hosts.Pins, func(p overlay.Pin) bool { return block.Contains(p.Address) })
}

// giveKeys gives the hosts of an encrypted network their public keys. One without is not reached, and named.
func (v view) giveKeys(peers []overlay.Peer) (faults []overlay.Fault) {
	peers[0].Key, peers[0].NextKey = v.key, v.next
	for i, p := range peers[1:] {
		key, next := v.state.Hosts[p.Node].PublicKey, v.state.Hosts[p.Node].NextKey
		if _, there := v.state.Hosts[p.Node]; !there && v.before != nil { // the store has lost its record
			if at := slices.IndexFunc(v.before.hosts.Peers, func(was overlay.Peer) bool { return was.Node == p.Node }); at >= 0 {
				key, next = v.before.hosts.Peers[at].Key, v.before.hosts.Peers[at].NextKey
			}
		}
		peers[1+i].NextKey = next
		if peers[1+i].Key = key; key.IsZero() {
			faults = append(faults, overlay.Fault{Entry: "host " + p.Node, Reason: "it has published no key, and the network is encrypted: it is not reached, see what fairwayd says there"})
		}
	}
	return faults
}

// own are this host's blocks: those that etcd says, and those that it has lost and nobody else has.
func (v view) own(n *registry.Network, blocks []netip.Prefix) []netip.Prefix {
	own := slices.Clone(blocks)
	for _, block := range v.had {
		if _, owned := n.Blocks[block]; !owned && n.Divides(block) {
			own = append(own, block)
		}
	}
	slices.SortFunc(own, netip.Prefix.Compare)
	return slices.Compact(own)
}

// peers are the other members. Of two that claim one address, who published last comes first, and the other is left out.
func (v view) peers(n *registry.Network, blocks map[string][]netip.Prefix) []overlay.Peer {
	peers := make([]overlay.Peer, 0, len(n.Members))
	for name := range n.Members {
		if name != v.node {
			peers = append(peers, overlay.Peer{Node: name, VTEP: v.state.Address(n, name), Blocks: blocks[name]})
		}
	}
	slices.SortFunc(peers, func(a, b overlay.Peer) int { return cmp.Compare(a.Node, b.Node) })
	claimed := make(map[netip.Addr]bool, len(peers)+1)
	claimed[v.here.address] = true
	for _, p := range peers {
		if claimed[p.VTEP] {
			former := v.formerNames(n)
			peers = slices.DeleteFunc(peers, func(p overlay.Peer) bool { return former[p.Node] })
			slices.SortStableFunc(peers, func(a, b overlay.Peer) int { return v.state.Precedes(a.Node, b.Node) })
			break
		}
		claimed[p.VTEP] = true
	}
	return peers
}

// formerNames are members that are hosts which were renamed: another member is the same machine at the same address, and published
// later. One without a record of its host, which every host of this release has, was claimed again for a name that is not used any more.
func (v view) formerNames(n *registry.Network) map[string]bool {
	type place struct {
		machine string
		vtep    netip.Addr
	}
	last, former := make(map[place]string), make(map[string]bool)
	see := func(name string) {
		h := v.state.Hosts[name]
		at := place{h.Machine, h.VTEP}
		other, there := last[at]
		switch {
		case h.Machine == "":
		case !there:
			last[at] = name
		case v.state.Precedes(name, other) < 0:
			last[at], former[other] = name, true
		case name != other:
			former[name] = true
		}
	}
	at := map[netip.Addr]bool{v.here.address: true}
	for name := range n.Members {
		see(name)
		if h, ok := v.state.Hosts[name]; ok {
			at[h.VTEP] = true
		}
	}
	see(v.node)
	for name, m := range n.Members {
		if _, ok := v.state.Hosts[name]; !ok && !v.state.Cluster.Mixed && at[m.VTEP] && v.state.Cluster.ID != "" {
			former[name] = true
		}
	}
	return former
}

// unite keeps of what was before what the store has lost: peers, and blocks of peers that nobody has now.
func (v view) unite(n *registry.Network, peers []overlay.Peer) []overlay.Peer {
	at := make(map[string]int, len(peers))
	for i, p := range peers {
		at[p.Node] = i
	}
	for _, was := range v.before.hosts.Peers {
		i, there := at[was.Node]
		var lost []netip.Prefix
		for _, block := range was.Blocks {
			owner, owned := n.Blocks[block]
			if !owned || !there && owner == was.Node { // its membership alone is lost
				lost = append(lost, block)
			}
		}
		switch {
		case there && was.Node != v.node && len(lost) > 0:
			peers[i].Blocks = slices.Concat(peers[i].Blocks, lost)
		case !there:
			peers = append(peers, overlay.Peer{Node: was.Node, VTEP: was.VTEP, Blocks: lost})
		}
	}
	return peers
}

// keepPins keeps pins that the store has lost: this host's own as long as containers have them, and those of peers.
func (v view) keepPins(n *registry.Network, snap *snapshot, hosts *overlay.Hosts) {
	for addr, pin := range v.hadPins {
		if _, there := n.Pins[addr]; !there && n.Owner(addr) == "" && slices.Contains(v.reserved, addr) {
			snap.pins[addr] = pin
			hosts.Pins = append(hosts.Pins, overlay.Pin{Address: addr, VTEP: v.here.address})
		}
	}
	if v.before == nil {
		return
	}
	for _, peer := range v.before.hosts.Peers {
		at := slices.IndexFunc(hosts.Peers, func(p overlay.Peer) bool { return p.Node == peer.Node })
		if at <= 0 {
			continue
		}
		for _, addr := range lostPins(n, *v.before, peer.VTEP, false) {
			hosts.Pins = append(hosts.Pins, overlay.Pin{Address: addr, VTEP: hosts.Peers[at].VTEP})
		}
	}
}

// lostPins are those that a peer had before the store went back, and that nobody has now, or with over by a record from before.
func lostPins(n *registry.Network, before snapshot, vtep netip.Addr, over bool) (lost []netip.Addr) {
	for _, pin := range before.hosts.Pins {
		if _, there := n.Pins[pin.Address]; !there && pin.VTEP == vtep && n.Freed(pin.Address, over) {
			lost = append(lost, pin.Address)
		}
	}
	return lost
}

// stranded are addresses of containers in blocks that are others' now.
func (v view) stranded(n *registry.Network, own []netip.Prefix) (list []netip.Addr) {
	for _, addr := range v.reserved {
		mine := slices.ContainsFunc(own, func(b netip.Prefix) bool { return b.Contains(addr) }) || n.Pins[addr].Node == v.node
		if _, pinned := n.Pins[addr]; !mine && !pinned { // the store has lost the pin
			mine = v.hadPins[addr].Node == v.node && n.Owner(addr) == ""
		}
		if !mine {
			list = append(list, addr)
		}
	}
	return list
}

// spare takes the blocks out of peers in which containers of this host still are: the first address of such a block is one of
// this host's own, and no way to the peer.
func spare(peers []overlay.Peer, stranded []netip.Addr) (faults []overlay.Fault) {
	if len(stranded) == 0 {
		return nil
	}
	for i, p := range peers {
		taken := func(b netip.Prefix) bool { return slices.ContainsFunc(stranded, b.Contains) }
		if !slices.ContainsFunc(p.Blocks, taken) {
			continue
		}
		var blocks []netip.Prefix
		for _, b := range p.Blocks {
			if taken(b) {
				faults = append(faults, overlay.Fault{Entry: fmt.Sprintf("block %s of host %s", b, p.Node), Reason: "containers of this host still have addresses of it"})
				continue
			}
			blocks = append(blocks, b)
		}
		peers[i].Blocks = blocks
	}
	return faults
}

// mtu is the least of the members' underlays: larger packets would be lost on the way to some.
func (v view) mtu(n *registry.Network) int {
	least := v.here.mtu
	for name := range n.Members {
		if mtu := v.state.Hosts[name].MTU; mtu > 0 && name != v.node {
			least = min(least, mtu)
		}
	}
	return least
}

// fittingBlocks are the blocks of all nodes that the network can be divided into.
func fittingBlocks(n *registry.Network) (map[string][]netip.Prefix, []overlay.Fault) {
	var faults []overlay.Fault
	blocks := n.BlocksByNode()
	var wrong []string
	for node, all := range blocks {
		if slices.ContainsFunc(all, func(b netip.Prefix) bool { return !n.Divides(b) }) {
			wrong = append(wrong, node)
		}
	}
	slices.Sort(wrong)
	for _, node := range wrong {
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

// spareBlocks are those without containers that a host does not need.
func spareBlocks(subnet agentapi.Subnet, own []netip.Prefix, reserved []netip.Addr) (spare []netip.Prefix) {
	left := in(subnet.Prefix, own)
	for _, block := range slices.Backward(slices.Clone(left)) {
		without := slices.DeleteFunc(slices.Clone(left), func(b netip.Prefix) bool { return b == block })
		if slices.ContainsFunc(reserved, block.Contains) || len(without) == 0 || needsBlock(subnet, without, reserved) {
			continue
		}
		spare, left = append(spare, block), without
	}
	return spare
}

// capacityOf is how many containers have room in a block: all of its addresses but the first, which is the host's. It
// stops counting where no host gets to.
func capacityOf(subnet agentapi.Subnet) int {
	const enough = 16
	bits := subnet.Prefix.Addr().BitLen() - subnet.BlockLength
	return 1<<min(bits, enough) - 1
}
