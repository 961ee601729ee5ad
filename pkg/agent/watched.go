package agent

import (
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/overlay"
)

// watched is what to put back at once when somebody deletes it.
type watched struct {
	mu      sync.Mutex
	wanted  map[string]snapshot // what the kernel is to have of a network, by its name
	devices map[string]string   // network, by device
	hurt    map[string]bool     // networks of which something was deleted or changed
}

// want notes what the kernel is about to have of a network: what goes then is not missed. Nil: nothing.
func (l *local) want(name string, s *snapshot) {
	l.watched.mu.Lock()
	defer l.watched.mu.Unlock()
	delete(l.watched.wanted, name)
	if s != nil {
		l.watched.wanted[name] = *s
	}
}

// watch notes the device of a network that is programmed.
func (l *local) watch(s snapshot) {
	l.watched.mu.Lock()
	defer l.watched.mu.Unlock()
	l.watched.devices[s.network().Device()] = s.definition.Name
	if s.replaces() {
		l.watched.devices[overlay.SpareTunnelName(s.definition.VNI)] = s.definition.Name
	}
}

// disturb notes that a device has changed.
func (a *Agent) disturb(device string) {
	a.watched.mu.Lock()
	defer a.watched.mu.Unlock()
	if name, ok := a.watched.devices[device]; ok {
		a.watched.hurt[name] = true
	}
}

// disturbed gives the networks of which something was changed, once.
func (a *Agent) disturbed() []string {
	a.watched.mu.Lock()
	defer a.watched.mu.Unlock()
	names := slices.Collect(maps.Keys(a.watched.hurt))
	clear(a.watched.hurt)
	return names
}

// gone takes the report that an entry was deleted: it is put back when a network of this host has it.
func (a *Agent) gone(e kernel.Gone) {
	a.watched.mu.Lock()
	defer a.watched.mu.Unlock()
	for name, snap := range a.watched.wanted {
		if e.Link != "" && e.Link != snap.network().Device() && e.Link != overlay.SpareTunnelName(snap.definition.VNI) || !has(snap, e) {
			continue
		}
		a.watched.hurt[name] = true
		a.wake.set()
	}
}

// has says whether a snapshot has an entry of the kernel.
func has(s snapshot, e kernel.Gone) bool {
	for i, p := range s.hosts.Peers {
		switch {
		case e.FDB && i > 0 && kernel.MAC(overlay.VTEPMAC(s.definition.VNI, p.VTEP)) == e.MAC:
			return true
		case e.FDB:
			continue
		case e.Dst.IsValid() && slices.Contains(p.Blocks, e.Dst):
			return true
		case e.Addr.IsValid() && i > 0 && slices.ContainsFunc(p.Blocks, func(b netip.Prefix) bool { return b.Addr() == e.Addr }):
			return true
		}
	}
	if e.Dst.IsValid() && slices.ContainsFunc(s.definition.Subnets, func(n agentapi.Subnet) bool { return n.Prefix == e.Dst }) {
		return true
	}
	return slices.ContainsFunc(s.hosts.Pins, func(p overlay.Pin) bool {
		return p.VTEP != s.hosts.Self && (p.Address == e.Addr || e.Dst == netip.PrefixFrom(p.Address, p.Address.BitLen()))
	})
}
