package names

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// Index answers from records. Whoever asks is told of the networks that it is itself on, and of no others. Its methods may be
// called at once.
type Index struct {
	mu       sync.RWMutex
	records  map[string]Record   // by the key under which they were set
	networks map[string]*network // by Owner.Network
	spaces   map[Space]map[string]bool
	observe  func(k string)
}

// network is what one network's names and addresses belong to, as keys of records.
type network struct {
	names, addresses map[string][]string
}

// NewIndex is an index without records.
func NewIndex() *Index {
	return &Index{records: map[string]Record{}, networks: map[string]*network{}, spaces: map[Space]map[string]bool{}}
}

// Observe has a function be called with the key of each record of this host that is set or deleted from then on. It must not
// wait. Nil: none.
func (x *Index) Observe(f func(k string)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.observe = f
}

// changed reports a key that is a file's, and so this host's.
func (x *Index) changed(k string) {
	if x.observe != nil && IsFile(k) {
		x.observe(k)
	}
}

// Record is that of a key.
func (x *Index) Record(k string) (r Record, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	r, ok = x.records[k]
	return r, ok
}

// Set enters a record under a key, in place of an earlier one. A record of another host has no namespace here, and is
// answered from without asking anything itself; its key is no file's.
func (x *Index) Set(k string, r Record) {
	x.mu.Lock()
	defer x.mu.Unlock()
	defer x.changed(k)
	x.drop(k)
	x.records[k] = r
	n := x.networks[r.Owner.Network]
	if n == nil {
		n = &network{names: map[string][]string{}, addresses: map[string][]string{}}
		x.networks[r.Owner.Network] = n
	}
	for _, name := range r.all() {
		n.names[name] = append(n.names[name], k)
	}
	for _, addr := range r.Addresses {
		n.addresses[addr.String()] = append(n.addresses[addr.String()], k)
	}
	if s := r.Netns.Space(); s != (Space{}) {
		if x.spaces[s] == nil {
			x.spaces[s] = map[string]bool{}
		}
		x.spaces[s][k] = true
	}
}

// Delete removes the record of a key. Absence is success.
func (x *Index) Delete(k string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	defer x.changed(k)
	x.drop(k)
}

func (x *Index) drop(k string) {
	r, ok := x.records[k]
	if !ok {
		return
	}
	delete(x.records, k)
	n := x.networks[r.Owner.Network]
	for _, name := range r.all() {
		without(n.names, name, k)
	}
	for _, addr := range r.Addresses {
		without(n.addresses, addr.String(), k)
	}
	if len(n.names) == 0 && len(n.addresses) == 0 {
		delete(x.networks, r.Owner.Network)
	}
	s := r.Netns.Space()
	delete(x.spaces[s], k)
	if len(x.spaces[s]) == 0 {
		delete(x.spaces, s)
	}
}

// without removes a key from one list of a map, and the list when it was the last.
func without(lists map[string][]string, at, k string) {
	lists[at] = slices.DeleteFunc(lists[at], func(other string) bool { return other == k })
	if len(lists[at]) == 0 {
		delete(lists, at)
	}
}

// all is every name of the record as it is compared, each once.
func (r Record) all() []string {
	var all []string
	for _, name := range append(slices.Concat(r.Names, r.Aliases), ShortID(r.Owner.ContainerID)) {
		if k := key(name); !slices.Contains(all, k) {
			all = append(all, k)
		}
	}
	return all
}

// Asker is what is known of a namespace that asks.
type Asker struct {
	// Networks are those it is on, sorted.
	Networks []string
	// Internal: all of them lead nowhere.
	Internal bool
	// Servers are asked for other names from within it. Empty: those of the host.
	Servers []netip.Addr
	// Netns is one way to the namespace.
	Netns Netns
}

// Asker describes a namespace. Without a record, ok is false.
func (x *Index) Asker(s Space) (a Asker, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	a.Internal = true
	for _, r := range x.ofSpace(s) {
		if !slices.Contains(a.Networks, r.Owner.Network) {
			a.Networks = append(a.Networks, r.Owner.Network)
		}
		a.Internal = a.Internal && r.Internal
		for _, server := range r.Servers {
			if !slices.Contains(a.Servers, server) {
				a.Servers = append(a.Servers, server)
			}
		}
		a.Netns = r.Netns
	}
	return a, len(a.Networks) > 0
}

// ofSpace is the records of a namespace, in the order of their networks and interfaces.
func (x *Index) ofSpace(s Space) []Record {
	own := make([]Record, 0, len(x.spaces[s]))
	for k := range x.spaces[s] {
		own = append(own, x.records[k])
	}
	slices.SortFunc(own, func(a, b Record) int {
		return cmp.Or(strings.Compare(a.Owner.Network, b.Owner.Network), strings.Compare(a.Owner.IfName, b.Owner.IfName))
	})
	return own
}

// hostNames lead to the host, where a network offers that.
var hostNames = [...]string{"host.docker.internal", "host-gateway"}

// Lookup finds the addresses of all that have a name, in the networks of who asks. known is true for a name without
// addresses, too. A name as it stands comes before one followed by its network's.
func (x *Index) Lookup(s Space, name string) (addrs []netip.Addr, known bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	name = key(name)
	networks := x.networksOf(s)
	for _, n := range networks {
		addrs, known = x.holders(addrs, known, n, name)
	}
	if !known {
		for _, n := range networks {
			// A network's name may hold dots, and so may a container's: the end decides.
			if head, ok := strings.CutSuffix(name, "."+key(n)); ok {
				addrs, known = x.holders(addrs, known, n, head)
			}
		}
	}
	if !known && slices.Contains(hostNames[:], name) {
		for _, r := range x.ofSpace(s) {
			addrs, known = appendNew(addrs, r.Host...), known || len(r.Host) > 0
		}
	}
	return addrs, known
}

// LookupIn is Lookup for who is on one network alone.
func (x *Index) LookupIn(network, name string) (addrs []netip.Addr, known bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	name = key(name)
	if addrs, known = x.holders(nil, false, network, name); !known {
		if head, ok := strings.CutSuffix(name, "."+key(network)); ok {
			addrs, known = x.holders(nil, false, network, head)
		}
	}
	return addrs, known
}

// Find is what is called by a name on a network, or the names of an address, as text.
func (x *Index) Find(network, name string) (found []string) {
	if addr, err := netip.ParseAddr(name); err == nil {
		return x.ReverseIn(network, addr)
	}
	addrs, _ := x.LookupIn(network, name)
	for _, addr := range addrs {
		found = append(found, addr.String())
	}
	return found
}

// holders adds the addresses of those who have a name in one network.
func (x *Index) holders(addrs []netip.Addr, known bool, of, name string) ([]netip.Addr, bool) {
	n := x.networks[of]
	if n == nil {
		return addrs, known
	}
	for _, k := range n.names[name] {
		addrs, known = appendNew(addrs, x.records[k].Addresses...), true
	}
	return addrs, known
}

// networksOf is the networks that a namespace is on.
func (x *Index) networksOf(s Space) []string {
	networks := make([]string, 0, len(x.spaces[s]))
	for k := range x.spaces[s] {
		if n := x.records[k].Owner.Network; !slices.Contains(networks, n) {
			networks = append(networks, n)
		}
	}
	slices.Sort(networks)
	return networks
}

// Reverse finds the names of an address, each with its network's, in the networks of who asks.
func (x *Index) Reverse(s Space, addr netip.Addr) (found []string) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, n := range x.networksOf(s) {
		found = append(found, x.namesOf(n, addr)...)
	}
	return found
}

// ReverseIn is Reverse for who is on one network alone.
func (x *Index) ReverseIn(network string, addr netip.Addr) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.namesOf(network, addr)
}

func (x *Index) namesOf(network string, addr netip.Addr) (found []string) {
	n := x.networks[network]
	if n == nil {
		return nil
	}
	for _, k := range n.addresses[addr.String()] {
		if name := x.records[k].first() + "." + network; !slices.Contains(found, name) {
			found = append(found, name)
		}
	}
	return found
}

// All are the names by which the record is found, without the ID's.
func (r Record) All() []string { return slices.Compact(slices.Concat(r.Names, r.Aliases)) }

// first is the name by which a record is known best.
func (r Record) first() string {
	for _, list := range [][]string{r.Names, r.Aliases} {
		if len(list) > 0 {
			return list[0]
		}
	}
	return ShortID(r.Owner.ContainerID)
}

// Spaces are the namespaces that have a record, and one way to each.
func (x *Index) Spaces() map[Space]Netns {
	x.mu.RLock()
	defer x.mu.RUnlock()
	all := make(map[Space]Netns, len(x.spaces))
	for s, keys := range x.spaces {
		for k := range keys {
			all[s] = x.records[k].Netns
			break
		}
	}
	return all
}

// Ways are all known ways to a namespace: the path of one attachment may go before another's.
func (x *Index) Ways(s Space) (ways []Netns) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, r := range x.ofSpace(s) {
		if !slices.Contains(ways, r.Netns) {
			ways = append(ways, r.Netns)
		}
	}
	return ways
}

// Keys are those of all records.
func (x *Index) Keys() []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	keys := make([]string, 0, len(x.records))
	for k := range x.records {
		keys = append(keys, k)
	}
	return keys
}

func appendNew(addrs []netip.Addr, more ...netip.Addr) []netip.Addr {
	for _, addr := range more {
		if !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}
