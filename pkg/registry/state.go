package registry

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/fairway-cni/fairway/pkg/agentapi"
)

// State is what the registry holds of all networks. It is never changed: an update makes another one.
type State struct {
	// Revision is etcd's, up to which the state is complete.
	Revision int64
	// Networks by their names.
	Networks map[string]*Network
}

// Network is what the registry holds of one network.
type Network struct {
	// Definition is the zero value while the registry has only remains of a network, or one that is Unreadable.
	Definition agentapi.Network
	// Created is the revision that made the network. A network that is removed and made again has another one. 0: there
	// is no definition.
	Created int64
	// Unreadable says why a definition that is there cannot be used, such as one that a later release wrote. It is not
	// absent: nothing may be taken away for it.
	Unreadable error
	// Faults are the records that are left out, with the reason, by key.
	Faults map[string]error
	// Nodes by their names.
	Nodes map[string]Node
	// Blocks are owned by nodes.
	Blocks map[netip.Prefix]string
	// Pins are addresses outside the blocks of their node.
	Pins map[netip.Addr]Pin
	// Used holds the nodes that have containers on the network.
	Used map[string]bool
}

// Node is what a host says of itself, in each network.
type Node struct {
	// VTEP is its address on the underlay.
	VTEP netip.Addr `json:"vtep"`
	// BootID is the kernel's (proc_sys_kernel(5), random/boot_id).
	BootID string `json:"bootID"`
}

// Pin is an address that an attachment has although its host does not own the block.
type Pin struct {
	Node        string `json:"node"`
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifName"`
}

// Readable says whether there is a definition that can be used.
func (n *Network) Readable() bool { return n != nil && n.Created != 0 && n.Unreadable == nil }

// Absent says that there is no definition, whatever else is left of the network.
func (n *Network) Absent() bool { return n == nil || n.Created == 0 }

// Divides says whether a block is one of those into which the network is divided.
func (n *Network) Divides(block netip.Prefix) bool {
	subnet, ok := subnetOf(n.Definition, block.Addr())
	return ok && blockOf(subnet, block.Addr()) == block
}

// BlocksOf are the blocks of a node, sorted.
func (n *Network) BlocksOf(node string) []netip.Prefix {
	var blocks []netip.Prefix
	for block, owner := range n.Blocks {
		if owner == node {
			blocks = append(blocks, block)
		}
	}
	slices.SortFunc(blocks, netip.Prefix.Compare)
	return blocks
}

// BlocksByNode are the blocks of all nodes, sorted: BlocksOf for each of a thousand would look at each block a thousand times.
func (n *Network) BlocksByNode() map[string][]netip.Prefix {
	all := make(map[string][]netip.Prefix)
	for block, owner := range n.Blocks {
		all[owner] = append(all[owner], block)
	}
	for _, blocks := range all {
		slices.SortFunc(blocks, netip.Prefix.Compare)
	}
	return all
}

// PinsOf are the pins of a node, sorted.
func (n *Network) PinsOf(node string) []netip.Addr {
	var addrs []netip.Addr
	for addr, pin := range n.Pins {
		if pin.Node == node {
			addrs = append(addrs, addr)
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs
}

func (n *Network) equal(other *Network) bool {
	return n.Created == other.Created && sameDefinition(n.Definition, other.Definition) && sameFaults(n.faults(), other.faults()) &&
		maps.Equal(n.Nodes, other.Nodes) && maps.Equal(n.Blocks, other.Blocks) &&
		maps.Equal(n.Pins, other.Pins) && maps.Equal(n.Used, other.Used)
}

// faults are those of the definition and of records.
func (n *Network) faults() map[string]error {
	all := maps.Clone(n.Faults)
	if n.Unreadable != nil {
		if all == nil {
			all = make(map[string]error)
		}
		all[""] = n.Unreadable
	}
	return all
}

func sameFaults(a, b map[string]error) bool {
	return maps.EqualFunc(a, b, func(x, y error) bool { return x.Error() == y.Error() })
}

func sameDefinition(a, b agentapi.Network) bool {
	same := a.Name == b.Name && a.VNI == b.VNI && a.MTU == b.MTU && a.Internal == b.Internal && a.IPMasq == b.IPMasq
	return same && slices.Equal(a.Subnets, b.Subnets) && maps.Equal(a.Options, b.Options) &&
		maps.Equal(a.Labels, b.Labels) && a.Created.Equal(b.Created)
}

func (n *Network) clone() *Network {
	return &Network{
		Definition: n.Definition, Created: n.Created, Unreadable: n.Unreadable, Faults: maps.Clone(n.Faults),
		Nodes: maps.Clone(n.Nodes), Blocks: maps.Clone(n.Blocks), Pins: maps.Clone(n.Pins), Used: maps.Clone(n.Used),
	}
}

func (n *Network) empty() bool {
	return n.Created == 0 && len(n.Nodes) == 0 && len(n.Blocks) == 0 && len(n.Pins) == 0 && len(n.Used) == 0 && len(n.Faults) == 0
}

// change is a key that was set or, without a value, deleted.
type change struct {
	key     string
	value   []byte // nil: deleted
	created int64
}

// apply is the state after changes, and the names of the networks that differ by value.
func (s State) apply(revision int64, changes []change) (State, []string) {
	next := State{Revision: revision, Networks: maps.Clone(s.Networks)}
	if next.Networks == nil {
		next.Networks = make(map[string]*Network)
	}
	copied := make(map[string]bool)
	for _, ch := range changes {
		l, ok := parseKey(ch.key)
		if !ok {
			continue
		}
		if !copied[l.network] {
			next.own(l.network)
			copied[l.network] = true
		}
		next.Networks[l.network].set(l, ch)
	}
	return next, next.settle(s, slices.Collect(maps.Keys(copied)))
}

// own makes a network of the state one that may be changed.
func (s State) own(name string) {
	if n, ok := s.Networks[name]; ok {
		s.Networks[name] = n.clone()
		return
	}
	s.Networks[name] = &Network{
		Nodes: make(map[string]Node), Blocks: make(map[netip.Prefix]string), Pins: make(map[netip.Addr]Pin), Used: make(map[string]bool),
		Faults: make(map[string]error),
	}
}

// settle drops networks of which nothing is left, and gives the names of those that differ from the state before.
func (s State) settle(before State, names []string) []string {
	var differ []string
	for _, name := range names {
		now, old := s.Networks[name], before.Networks[name]
		if now != nil && now.empty() {
			delete(s.Networks, name)
			now = nil
		}
		if now == nil && old == nil || now != nil && old != nil && now.equal(old) {
			continue
		}
		differ = append(differ, name)
	}
	slices.Sort(differ)
	return differ
}

// replace is the state that a complete list describes, and the names of the networks that differ by value.
func (s State) replace(revision int64, list []change) (State, []string) {
	next, _ := State{}.apply(revision, list)
	names := slices.Collect(maps.Keys(next.Networks))
	for name := range s.Networks {
		if next.Networks[name] == nil {
			names = append(names, name)
		}
	}
	return next, next.settle(s, names)
}

// set enters a change. Each record is judged alone: one that cannot be read is left out and named, and takes nothing else
// along.
func (n *Network) set(l location, ch change) {
	delete(n.Faults, ch.key)
	if l.part == "" {
		n.define(l.network, ch)
		return
	}
	if err := n.enter(l, ch); err != nil {
		n.Faults[ch.key] = err
	}
}

// define takes the definition: absent, readable or unreadable.
func (n *Network) define(name string, ch change) {
	n.Definition, n.Created, n.Unreadable = agentapi.Network{}, 0, nil
	if ch.value == nil {
		return
	}
	n.Created = ch.created
	d, err := readDefinition(name, ch.value)
	if err != nil {
		n.Unreadable = err
		return
	}
	n.Definition = d
}

// enter takes a record of a part, or drops it.
func (n *Network) enter(l location, ch change) error {
	switch l.part {
	case nodesPart:
		return enter(n.Nodes, l.name, ch, readNode)
	case blocksPart:
		block, err := netip.ParsePrefix(l.name)
		if err != nil {
			return unreadable(ch, err)
		}
		return enter(n.Blocks, block, ch, readOwner)
	case pinsPart:
		addr, err := netip.ParseAddr(l.name)
		if err != nil {
			return unreadable(ch, err)
		}
		return enter(n.Pins, addr, ch, readPin)
	case usedPart:
		delete(n.Used, l.name)
		if ch.value != nil {
			n.Used[l.name] = true
		}
	}
	return nil // a part that a later release may have
}

// unreadable is the error of a record whose key cannot be read, while it is there.
func unreadable(ch change, err error) error {
	if ch.value == nil {
		return nil
	}
	return err
}

func enter[K comparable, V any](m map[K]V, key K, ch change, read func([]byte) (V, error)) error {
	delete(m, key)
	if ch.value == nil {
		return nil
	}
	v, err := read(ch.value)
	if err == nil {
		m[key] = v
	}
	return err
}
