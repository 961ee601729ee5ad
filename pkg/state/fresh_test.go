package state_test

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// A DEL may come to a host where nothing was ever built.
func TestRemoveOnFreshHost(t *testing.T) {
	testnet.NewHost(t)
	for _, o := range []state.Object{
		state.Bridge{Name: "br0"},
		state.Veth{Owner: owner("a"), Bridge: "br0"},
		state.Masquerade{Owner: owner("a")},
		state.SpoofCheck{Owner: owner("a")},
		state.Isolation{Bridge: "br0", Internal: true},
	} {
		removes(t, nil, o)
	}
	if err := state.Prune(open(t, nil), "net", nil); err != nil {
		t.Errorf("Prune: %v", err)
	}
	if got := testnet.Sh(t, "nft", "list", "ruleset"); got != "" {
		t.Errorf("nft list ruleset:\n%s", got)
	}
}
