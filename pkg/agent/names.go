package agent

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/fairway-cni/fairway/pkg/registry"
)

// others is what the index has of other hosts' names.
type others struct {
	mu sync.Mutex
	// entered by network, and by the registry's key.
	entered map[string]map[string]entered
	// unkept are networks of which the disk has not what was entered.
	unkept  map[string]bool
	changed trigger
}

func newOthers() others {
	return others{entered: make(map[string]map[string]entered), unkept: make(map[string]bool), changed: newTrigger()}
}

// entered is one record in the index, with the addresses that its host may speak for.
type entered struct {
	*registry.Name
	addrs []netip.Addr
}

// says compares by value: what was kept on disk is read anew from etcd.
func (e entered) says(name *registry.Name, addrs []netip.Addr) bool {
	return (e.Name == name || e.Node == name.Node && e.Text() == name.Text()) && slices.Equal(e.addrs, addrs)
}

// takeNames makes the index equal to what other hosts call their containers, in networks of which names have changed, or anything.
// A name is looked at again only where it or the network differs: of a network's thousands, one comes or goes at a time.
func (a *Agent) takeNames(named, changed []string) {
	if a.config.Names == nil {
		return
	}
	a.others.mu.Lock()
	defer a.others.mu.Unlock()
	var s registry.State
	a.cache.with(func() {
		if a.cache.read != nil {
			s = *a.cache.read
		}
	})
	settling := a.settling()
	for _, network := range slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(named), changed...)))) {
		n := s.Networks[network]
		switch {
		case n.Readable() && !n.Followed && a.cache.isJoined(network):
			// Its names are about to be read.
		case n.Readable():
			a.takeNamesOf(n, slices.Contains(changed, network), settling)
		case n.Absent() && !settling:
			a.takeNamesOf(&registry.Network{Name: network}, true, false)
		}
		// A definition that cannot be read takes nothing away.
	}
}

func (a *Agent) takeNamesOf(n *registry.Network, anew, settling bool) {
	before := a.others.entered[n.Name]
	after := make(map[string]entered, len(n.Names))
	speaks := make(map[string]bool) // nodes of which the store has names
	stray := make(map[string]int)   // names by node, of addresses that are not its own
	for key, name := range n.Names {
		speaks[name.Node] = true
		if name.Node == a.node() {
			continue
		}
		there, known := before[key]
		if known && there.Name == name && !anew {
			after[key] = there
			continue
		}
		addrs := n.Addresses(name)
		if len(addrs) == 0 {
			stray[name.Node]++
			continue
		}
		after[key] = entered{name, addrs}
		if !known || !there.says(name, addrs) {
			a.answer(n.Name, key, after[key])
			a.others.unkept[n.Name] = true
		}
	}
	for key, there := range before {
		if _, stays := after[key]; stays {
			continue
		}
		if settling && !speaks[there.Node] {
			after[key] = there // the store has lost it, or its host claims again what it had
			continue
		}
		a.config.Names.Delete(indexKey(n.Name, key))
		a.others.unkept[n.Name] = true
	}
	if a.others.entered[n.Name] = after; a.others.unkept[n.Name] {
		a.others.changed.set()
	}
	if len(after) == 0 {
		delete(a.others.entered, n.Name)
	}
	a.problems.note(ofNames+n.Name, strayed(stray, settling))
}

// answer enters a name into the index, at the addresses that its host may speak for.
func (a *Agent) answer(network, key string, name entered) {
	record := name.Record
	record.Addresses = name.addrs
	a.config.Names.Set(indexKey(network, key), record)
}

// indexKey is the index's key of another host's name; that of a file has no slash.
func indexKey(network, key string) string { return network + "/" + key }

// strayed says which hosts have published names of addresses that are not theirs. While a store settles, blocks come back one by one.
func strayed(stray map[string]int, settling bool) error {
	if len(stray) == 0 || settling {
		return nil
	}
	nodes := slices.Sorted(maps.Keys(stray))
	return fmt.Errorf("%d of host %s are not answered: their addresses lie in no block of it (%d hosts)", stray[nodes[0]], nodes[0], len(nodes))
}
