package topology_test

import (
	"slices"
	"testing"

	"github.com/fairway-cni/fairway/pkg/snapshot"
	"github.com/fairway-cni/fairway/pkg/topology"
)

// TestOrderOfNetworks: bridges come in the order of their networks' names, whatever they are called themselves.
func TestOrderOfNetworks(t *testing.T) {
	f := town(40, 10)
	for i, n := range f.Networks {
		name := "br" + string(rune('z'-i))
		at := slices.IndexFunc(f.Host.Links, func(l snapshot.Link) bool { return l.Name == n.Link })
		f.Networks[i].Link, f.Host.Links[at].Name = name, name
	}
	var names []string
	for _, n := range topology.Build(f).Of(topology.Bridge) {
		names = append(names, n.Networks...)
	}
	if len(names) < 5 || !slices.IsSorted(names) {
		t.Errorf("got %v, want them sorted", names)
	}
}
