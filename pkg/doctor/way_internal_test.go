package doctor

import (
	"slices"
	"testing"

	"github.com/fairway-cni/fairway/pkg/topology"
)

// TestHopsOfDrivers: nothing is said of a bridge where no packet passes one.
func TestHopsOfDrivers(t *testing.T) {
	of := func(plugin string) *way { return &way{network: topology.Network{Type: plugin}} }
	for _, test := range []struct {
		ways    []*way
		bridged bool
	}{
		{[]*way{of("bridge")}, true}, {[]*way{of("macvlan")}, false}, {[]*way{of("overlay-vxlan")}, false}, {[]*way{of("ptp")}, false},
		{[]*way{of("macvlan"), of("bridge")}, true},
	} {
		var names []string
		for _, h := range hopsOf(test.ways) {
			names = append(names, h.name)
		}
		if slices.Contains(names, "bridge") != test.bridged || slices.Contains(names, "neighbour") != test.bridged || !slices.Contains(names, "route") {
			t.Errorf("%s: got %v", test.ways[0].network.Type, names)
		}
	}
}
