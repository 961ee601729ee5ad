package registry

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd"
)

// State is what the registry holds, as far as this host follows it. It is never changed: an update makes another one.
type State struct {
	// Revision is etcd's, of the last change that was seen.
	Revision int64
	// Cluster is the record of all; ID is empty while there is none that can be read.
	Cluster Cluster
	// Networks by their names.
	Networks map[string]*Network
	// Hosts by the names of their nodes.
	Hosts map[string]Host
	// Faults are records of hosts that are left out, with the reason, by key.
	Faults map[string]error

	turned int64 // the revision that began the epoch, as Memory has it
}

// Network is what the registry holds of one network.
type Network struct {
	Name string
	// Definition is the zero value while the registry has only remains of a network, or one that is Unreadable.
	Definition agentapi.Network
	// Created is the revision that made the network. A network that is removed and made again has another one. 0: there
	// is no definition.
	Created int64
	// Unreadable says why a definition that is there cannot be used, such as one that a later release wrote. It is not
	// absent: nothing may be taken away for it.
	Unreadable error
	// Followed says that what comes next is known: that this host follows the network as a member does.
	Followed bool
	// Modified is the last revision that was seen of its members, blocks and pins, not of names.
	Modified int64
	// Members by the names of their nodes.
	Members map[string]Member
	// Blocks are owned by nodes.
	Blocks map[netip.Prefix]string
	// Restored are the revisions of those whose record is from before the store went back: their owner may have given it up later, and
	// another host have taken it. Who knows that it owns a block writes the record again, see Confirm.
	Restored map[netip.Prefix]int64
	// Pins are addresses outside the blocks of their node.
	Pins map[netip.Addr]Pin
	// RestoredPins are to Pins what Restored are to Blocks: their container may have gone since.
	RestoredPins map[netip.Addr]int64
	// Names are what containers are called, by NODE/ATTACHMENT.
	Names map[string]*Name
	// Faults are the records that are left out, with the reason, by key.
	Faults map[string]error
}

// Changed says in what an update differs from the one before.
type Changed struct {
	// Networks whose definition, members, blocks or pins differ, or the record of a host that is a member. Sorted.
	Networks []string
	// Names are the networks of which names differ. Sorted.
	Names []string
	// Cluster record, or that of any host.
	Cluster, Hosts bool
}

func (c Changed) any() bool { return len(c.Networks) > 0 || len(c.Names) > 0 || c.Cluster || c.Hosts }

// Readable says whether there is a definition that can be used.
func (n *Network) Readable() bool { return n != nil && n.Created != 0 && n.Unreadable == nil }

// Absent says that there is no definition, whatever else is left of the network.
func (n *Network) Absent() bool { return n == nil || n.Created == 0 }

// Divides says whether a block is one of those into which the network is divided.
func (n *Network) Divides(block netip.Prefix) bool {
	subnet, ok := subnetOf(n.Definition, block.Addr())
	return ok && blockOf(subnet, block.Addr()) == block
}

// Owner is the node that owns the block in which an address lies, or empty.
func (n *Network) Owner(addr netip.Addr) string {
	subnet, ok := subnetOf(n.Definition, addr)
	if !ok {
		return ""
	}
	return n.Blocks[blockOf(subnet, addr)]
}

// BlocksOf are the blocks of a node, sorted, without those into which the network is not divided.
func (n *Network) BlocksOf(node string) []netip.Prefix {
	var blocks []netip.Prefix
	for block, owner := range n.Blocks {
		if owner == node && n.Divides(block) {
			blocks = append(blocks, block)
		}
	}
	slices.SortFunc(blocks, netip.Prefix.Compare)
	return blocks
}

// BlocksByNode are the blocks of all nodes, sorted: BlocksOf for each of a thousand would look at each block a thousand times.
func (n *Network) BlocksByNode() map[string][]netip.Prefix {
	all := make(map[string][]netip.Prefix, len(n.Members))
	first := make([]netip.Prefix, 0, len(n.Blocks)) // memory for those of a node with one, which most are
	for block, owner := range n.Blocks {
		if blocks := all[owner]; len(blocks) > 0 {
			all[owner] = append(blocks, block)
			continue
		}
		first = append(first, block)
		all[owner] = first[len(first)-1 : len(first) : len(first)]
	}
	for _, blocks := range all {
		if len(blocks) > 1 {
			slices.SortFunc(blocks, netip.Prefix.Compare)
		}
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

// pinned says whether an address of a block is pinned; with over, by a pin that is not from before the store went back.
func (n *Network) pinned(block netip.Prefix, over bool) bool {
	for addr := range n.Pins {
		if block.Contains(addr) && !(over && n.RestoredPins[addr] != 0) {
			return true
		}
	}
	return false
}

// dropPins are the pins of a block from before the store went back, as they have to be, and what takes them away.
func (n *Network) dropPins(block netip.Prefix) (still []etcd.Condition, gone []etcd.Op) {
	for addr, revision := range n.RestoredPins {
		if block.Contains(addr) {
			key := pinKey(n.Name, addr)
			still, gone = append(still, etcd.ModifiedAt(key, revision)), append(gone, etcd.Remove(key))
		}
	}
	return still, gone
}

// Freed says whether an address lies in no block that has an owner. With over, the records of blocks from before the store went back do not
// count: the address was pinned by then, so that their owners had given them up.
func (n *Network) Freed(addr netip.Addr, over bool) bool {
	return n.Owner(addr) == "" || over && n.formerly(addr) != 0
}

// formerly is the revision of the record of the block in which an address lies, if it is from before the store went back, or 0.
func (n *Network) formerly(addr netip.Addr) int64 {
	subnet, ok := subnetOf(n.Definition, addr)
	if !ok {
		return 0
	}
	return n.Restored[blockOf(subnet, addr)]
}

// Owners are the nodes that have anything in a network.
func (n *Network) Owners() map[string]bool {
	all := make(map[string]bool)
	for _, node := range n.Blocks {
		all[node] = true
	}
	for _, p := range n.Pins {
		all[p.Node] = true
	}
	for node := range n.Members {
		all[node] = true
	}
	return all
}

// Address of a host that is a member: that of its own record, or what a former release wrote into the membership.
func (s State) Address(n *Network, node string) netip.Addr {
	if h, ok := s.Hosts[node]; ok {
		return h.VTEP
	}
	return n.Members[node].VTEP
}

// Precedes orders hosts that claim one address: who published last comes first, as it is only let where the other is dead.
func (s State) Precedes(a, b string) int {
	return cmp.Or(cmp.Compare(s.Hosts[b].published, s.Hosts[a].published), cmp.Compare(a, b))
}

func (n *Network) equal(other *Network) bool {
	return n.Created == other.Created && n.Followed == other.Followed && n.Definition.Same(other.Definition) &&
		sameFaults(n.faults(), other.faults()) && maps.Equal(n.Members, other.Members) && maps.Equal(n.Blocks, other.Blocks) &&
		maps.Equal(n.Restored, other.Restored) && maps.Equal(n.Pins, other.Pins) && maps.Equal(n.RestoredPins, other.RestoredPins)
}

// faults are those of the definition and of records.
func (n *Network) faults() map[string]error {
	if n.Unreadable == nil {
		return n.Faults
	}
	all := maps.Clone(n.Faults)
	if all == nil {
		all = make(map[string]error)
	}
	all[""] = n.Unreadable
	return all
}

func sameFaults(a, b map[string]error) bool {
	return maps.EqualFunc(a, b, func(x, y error) bool { return x.Error() == y.Error() })
}

// clone shares the names, of which there may be many more than of anything else: see update.names.
func (n *Network) clone() *Network {
	c := *n
	c.Members, c.Blocks, c.Pins, c.Faults = maps.Clone(n.Members), maps.Clone(n.Blocks), maps.Clone(n.Pins), maps.Clone(n.Faults)
	c.Restored, c.RestoredPins = maps.Clone(n.Restored), maps.Clone(n.RestoredPins)
	return &c
}

func (n *Network) empty() bool {
	return n.Created == 0 && len(n.Members) == 0 && len(n.Blocks) == 0 && len(n.Pins) == 0 && len(n.Names) == 0 && len(n.Faults) == 0
}

// update makes the next state of one before.
type update struct {
	State
	before  State
	copied  map[string]bool // networks that are the update's own
	named   map[string]bool // networks whose names are
	touched map[string]bool // hosts; nil: those of the state before are shared
}

func (s State) begin() *update {
	u := &update{State: s, before: s, copied: make(map[string]bool), named: make(map[string]bool)}
	u.Networks = maps.Clone(s.Networks)
	if u.Networks == nil {
		u.Networks = make(map[string]*Network)
	}
	return u
}

// network is one that may be changed.
func (u *update) network(name string) *Network {
	if u.copied[name] {
		return u.Networks[name]
	}
	u.copied[name] = true
	if n, ok := u.Networks[name]; ok {
		u.Networks[name] = n.clone()
	} else {
		u.Networks[name] = &Network{
			Name: name, Members: make(map[string]Member), Blocks: make(map[netip.Prefix]string), Pins: make(map[netip.Addr]Pin),
			Faults: make(map[string]error),
		}
	}
	return u.Networks[name]
}

// names are those of a network that may be changed.
func (u *update) names(n *Network) map[string]*Name {
	if !u.named[n.Name] {
		u.named[n.Name] = true
		if n.Names = maps.Clone(n.Names); n.Names == nil {
			n.Names = make(map[string]*Name)
		}
	}
	return n.Names
}

// set enters a change. Each record is judged alone: one that cannot be read is left out and named, and takes nothing else
// along.
func (u *update) set(ch etcd.Change) {
	u.Revision = max(u.Revision, ch.Modified)
	l, ok := parseKey(ch.Key)
	switch {
	case !ok:
	case l.host != "":
		u.setHost(l.host, ch)
	case l.network == "":
		u.Cluster = Cluster{}
		if c, err := readCluster(ch.Value); err == nil && !ch.Deleted {
			u.Cluster = c
		}
	case l.part == "":
		u.network(l.network).define(ch)
	default:
		n := u.network(l.network)
		enter := n.enter
		if l.part == namesPart {
			enter = u.enterName
		} else {
			n.Modified = max(n.Modified, ch.Modified)
		}
		delete(n.Faults, ch.Key)
		if err := enter(l, ch); err != nil && !ch.Deleted {
			n.Faults[ch.Key] = err
		}
		n.restore(l, ch, u.turned)
	}
}

// restore notes whether the record of a block or a pin is from before the store went back.
func (n *Network) restore(l location, ch etcd.Change, turned int64) {
	switch l.part {
	case blocksPart:
		if block, err := netip.ParsePrefix(l.name); err == nil {
			n.Restored = noted(n.Restored, block, ch.Modified, n.Blocks[block] != "" && ch.Modified < turned)
		}
	case pinsPart:
		if addr, err := netip.ParseAddr(l.name); err == nil {
			_, pinned := n.Pins[addr]
			n.RestoredPins = noted(n.RestoredPins, addr, ch.Modified, pinned && ch.Modified < turned)
		}
	}
}

func noted[K comparable](all map[K]int64, key K, revision int64, is bool) map[K]int64 {
	delete(all, key)
	if !is {
		return all
	}
	if all == nil {
		all = make(map[K]int64)
	}
	all[key] = revision
	return all
}

func (u *update) setHost(node string, ch etcd.Change) {
	u.ownHosts()
	u.touched[node] = true
	delete(u.Faults, ch.Key)
	delete(u.Hosts, node)
	if ch.Deleted {
		return
	}
	h, err := readHost(ch.Value)
	if err == nil {
		err = CheckNode(node)
	}
	if err != nil {
		u.Faults[ch.Key] = err
		return
	}
	h.published = ch.Modified
	u.Hosts[node] = h
}

// ownHosts makes the records of hosts ones that may be changed.
func (u *update) ownHosts() {
	if u.touched != nil {
		return
	}
	u.touched = make(map[string]bool)
	if u.Hosts = maps.Clone(u.Hosts); u.Hosts == nil {
		u.Hosts = make(map[string]Host)
	}
	if u.Faults = maps.Clone(u.Faults); u.Faults == nil {
		u.Faults = make(map[string]error)
	}
}

// clear drops all that a feed has told, as a complete list of it comes next.
func (u *update) clear(f feed) {
	switch {
	case f.network != "":
		n := u.network(f.network)
		clear(n.Members)
		clear(n.Blocks)
		clear(n.Restored)
		clear(n.Pins)
		clear(n.RestoredPins)
		clear(u.names(n))
		clear(n.Faults)
	case f.keys.Key == networks:
		for name := range u.Networks {
			n := u.network(name)
			n.Definition, n.Created, n.Unreadable = agentapi.Network{}, 0, nil
		}
	case f.keys.Key == nodes:
		u.ownHosts()
		for node := range u.Hosts {
			u.touched[node] = true
		}
		clear(u.Hosts)
		clear(u.Faults)
	default:
		u.Cluster = Cluster{}
	}
}

// define takes the definition: absent, readable or unreadable.
func (n *Network) define(ch etcd.Change) {
	n.Definition, n.Created, n.Unreadable = agentapi.Network{}, 0, nil
	if ch.Deleted {
		return
	}
	n.Created = ch.Created
	d, err := readDefinition(n.Name, ch.Value)
	if err != nil {
		n.Unreadable = err
		return
	}
	n.Definition = d
}

// enter takes a record of a part, or drops it.
func (n *Network) enter(l location, ch etcd.Change) error {
	switch l.part {
	case membersPart:
		return enter(n.Members, l.name, ch, readMember)
	case blocksPart:
		block, err := netip.ParsePrefix(l.name)
		if err != nil {
			return err
		}
		return enter(n.Blocks, block, ch, readOwner)
	case pinsPart:
		addr, err := netip.ParseAddr(l.name)
		if err != nil {
			return err
		}
		return enter(n.Pins, addr, ch, readPin)
	}
	return nil // a part that a later release may have
}

func enter[K comparable, V any](m map[K]V, key K, ch etcd.Change, read func(string) (V, error)) error {
	delete(m, key)
	if ch.Deleted {
		return nil
	}
	v, err := read(ch.Value)
	if err == nil {
		m[key] = v
	}
	return err
}

// end is the next state, and in what it differs from the one before.
func (u *update) end() (State, Changed) {
	var changed Changed
	changed.Cluster = u.Cluster != u.before.Cluster
	differ := make(map[string]bool)
	for name := range u.named {
		if !sameNames(u.Networks[name], u.before.Networks[name]) {
			changed.Names = append(changed.Names, name)
		}
	}
	for name := range u.copied {
		now, old := u.Networks[name], u.before.Networks[name]
		if now.empty() && !now.Followed {
			delete(u.Networks, name)
			differ[name] = old != nil
			continue
		}
		differ[name] = old == nil || !now.equal(old)
	}
	if u.touched != nil {
		changed.Hosts = u.hostsDiffer(differ)
	}
	for name, does := range differ {
		if does {
			changed.Networks = append(changed.Networks, name)
		}
	}
	slices.Sort(changed.Names)
	slices.Sort(changed.Networks)
	return u.State, changed
}

// hostsDiffer marks the networks that have a member whose record differs.
func (u *update) hostsDiffer(differ map[string]bool) bool {
	some := !sameFaults(u.Faults, u.before.Faults)
	for node := range u.touched {
		now, is := u.Hosts[node]
		old, was := u.before.Hosts[node]
		now.published, old.published = 0, 0
		if is == was && now == old {
			continue
		}
		some = true
		for name, n := range u.Networks {
			if _, member := n.Members[node]; member {
				differ[name] = true
			}
		}
	}
	return some
}

// apply is the state after changes.
func (s State) apply(changes []etcd.Change) (State, Changed) {
	u := s.begin()
	for _, ch := range changes {
		u.set(ch)
	}
	return u.end()
}
