package lan_test

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/bridging"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/state/sweep"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// A DEL may come to a host where nothing was ever built.
func TestRemoveOnFreshHost(t *testing.T) {
	testnet.NewHost(t)
	for _, o := range []state.Object{
		bridging.Bridge{Name: "br0"},
		state.Veth{Owner: statetest.Owner("a"), Bridge: "br0"},
		ruleset.Masquerade{Owner: statetest.Owner("a")},
		ruleset.SpoofCheck{Owner: statetest.Owner("a")},
		ruleset.Isolation{Bridge: "br0", Link: "br0", Internal: true},
	} {
		statetest.Removes(t, nil, o)
	}
	if err := sweep.Prune(statetest.Open(t, nil), "net", nil); err != nil {
		t.Errorf("Prune: %v", err)
	}
	if got := testnet.Sh(t, "nft", "list", "ruleset"); got != "" {
		t.Errorf("nft list ruleset:\n%s", got)
	}
}
