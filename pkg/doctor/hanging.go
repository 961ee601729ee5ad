package doctor

import (
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/containernetworking/cni/libcni"
	"golang.org/x/sync/errgroup"

	"github.com/fairway-cni/fairway/pkg/kernel"
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

// together asks plugins for several things, as many at once as there are processors, and gives the findings in the order of the things.
// Plugins are executed in the network namespace of the thread that asks, which is this one's.
func together[T any](all []T, ask func(T) []Finding) (findings []Finding) {
	own, err := kernel.Open("/proc/thread-self/ns/net")
	if err != nil {
		return []Finding{errorf("plugins could not be asked: %v", err)}
	}
	defer own.Close()
	found := make([][]Finding, len(all))
	var group errgroup.Group
	group.SetLimit(runtime.NumCPU())
	for i, one := range all {
		group.Go(func() error {
			return own.Container.Do(func() error {
				found[i] = ask(one)
				return nil
			})
		})
	}
	if err := group.Wait(); err != nil {
		findings = append(findings, errorf("plugins could not be asked: %v", err))
	}
	return append(findings, slices.Concat(found...)...)
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
