package doctor

import (
	"slices"
	"sync"
	"time"

	"github.com/containernetworking/cni/libcni"
)

// patience is how long a plugin may take to answer.
const patience = 5 * time.Second

// hanging are the plugins that did not answer in time: no check asks them again.
type hanging struct {
	mu      sync.Mutex
	plugins map[string]bool
}

func (x *hanging) note(plugin string) (first bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.plugins == nil {
		x.plugins = make(map[string]bool)
	}
	first = !x.plugins[plugin]
	x.plugins[plugin] = true
	return first
}

func (x *hanging) has(plugin string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.plugins[plugin]
}

// hangs says whether a plugin of a network does not answer.
func (h *Host) hangs(list *libcni.NetworkConfigList) bool {
	for _, p := range list.Plugins {
		if h.silent.has(p.Network.Type) || h.silent.has(p.Network.IPAM.Type) {
			return true
		}
	}
	return false
}

// noteHanging notes the plugins of a network of which one did not answer. Which one is not told: those of others are suspected first.
func (h *Host) noteHanging(network, command string) []Finding {
	said := false
	for _, n := range h.Networks.All {
		if n.Name != network || n.List == nil {
			continue
		}
		types := foreign(n.List)
		for _, plugin := range types {
			said = h.silent.note(plugin) || said
		}
	}
	if !said {
		return nil
	}
	return []Finding{errorf("a plugin of network %s does not answer %s within %s", network, command, patience).
		remedy("see what it waits for: containers of the network wait for it too")}
}

// foreign are the plugins of a network that are not fairway's by their names, or all where there is none.
func foreign(list *libcni.NetworkConfigList) []string {
	var all, others []string
	for _, p := range list.Plugins {
		for _, plugin := range []string{p.Network.Type, p.Network.IPAM.Type} {
			if plugin == "" {
				continue
			}
			all = append(all, plugin)
			if !slices.Contains(ours, plugin) {
				others = append(others, plugin)
			}
		}
	}
	if len(others) > 0 {
		return others
	}
	return all
}
