package sweep_test

import (
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/state/ruleset"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/state/sweep"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestPruneShared: of a network whose removal was cut short, when its bridge had gone, no element stays; those of bridges that are there do.
func TestPruneShared(t *testing.T) {
	testnet.NewHost(t)
	testnet.Sh(t, "ip", "link", "add", "stays", "type", "bridge")
	k := statetest.Open(t, nil)
	for _, bridge := range []string{"stays", "gone"} {
		statetest.Apply(t, k, ruleset.Isolation{Bridge: bridge, Link: bridge, Isolated: true})
	}
	if err := sweep.PruneShared(k); err != nil {
		t.Fatal(err)
	}
	rules := testnet.Sh(t, "nft", "list", "ruleset")
	if strings.Contains(rules, "fairway-bridge gone") {
		t.Errorf("left:\n%s", rules)
	}
	if !strings.Contains(rules, "fairway-bridge stays") {
		t.Errorf("taken:\n%s", rules)
	}
}
