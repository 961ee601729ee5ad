package sweep_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/state/sweep"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestMarksStale: marks say of a network that something is left exactly where Prune removes something.
func TestMarksStale(t *testing.T) {
	testnet.NewHost(t)
	a, b := statetest.Owner("a"), statetest.Owner("b")
	long := state.Owner{Network: strings.Repeat("n", 80), ContainerID: "c", IfName: "eth0"}
	for i, o := range []state.Owner{a, b, long} {
		attachAll(t, o, fmt.Sprintf("10.8.%d.2/24", i))
	}
	stale := func(network string, valid ...state.Owner) bool {
		t.Helper()
		marks, err := sweep.ReadMarks(statetest.Open(t, nil))
		if err != nil {
			t.Fatal(err)
		}
		return marks.Stale(network, valid)
	}
	for _, test := range []struct {
		network string
		valid   []state.Owner
		want    bool
	}{
		{a.Network, []state.Owner{a, b}, false}, {a.Network, []state.Owner{a}, true}, {a.Network, nil, true},
		{long.Network, []state.Owner{long}, false}, {long.Network, nil, true}, {"nobody", nil, false},
	} {
		if got := stale(test.network, test.valid...); got != test.want {
			t.Errorf("network %.9s with %d valid: stale %v, want %v", test.network, len(test.valid), got, test.want)
		}
		prune(t, test.network, append(test.valid, a, b, long)...) // nothing
	}
	prune(t, a.Network, a)
	if stale(a.Network, a) {
		t.Error("stale after Prune")
	}
	// One whose making was cut short has a group and no alias.
	half := statetest.Owner("half")
	testnet.Sh(t, "ip", "link", "add", half.HostLink(), "group", fmt.Sprint(state.Group(half.Network)), "type", "veth", "peer", "name", "other")
	if !stale(a.Network, a) || stale(long.Network, long) {
		t.Error("a link that was cut short is not stale")
	}
}
