package sweep_test

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/bridging"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/state/sweep"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestDiscard(t *testing.T) {
	k, _ := statetest.NewPair(t)
	bridge := bridging.Bridge{Name: "br0"}
	statetest.Apply(t, k, state.Shared(bridge), state.Shared(ruleset.Isolation{Bridge: "br0", Link: "br0", Isolated: true}),
		state.Veth{Owner: statetest.Owner("left"), MAC: statetest.Owner("left").MAC(), Bridge: "br0"})
	for range 2 {
		if err := sweep.Discard(statetest.Open(t, nil), "net", "br0"); err != nil {
			t.Fatal(err)
		}
		statetest.Lacks(t, testnet.Sh(t, "ip", "link"), "br0", statetest.Owner("left").HostLink())
		statetest.Lacks(t, testnet.Sh(t, "nft", "list", "ruleset"), "br0")
	}
}

func TestDiscardKeepsWhatOthersHave(t *testing.T) {
	k, _ := statetest.NewPair(t)
	testnet.Sh(t, "ip", "link", "add", "foreign", "type", "bridge")
	statetest.Apply(t, k, state.Shared(bridging.Bridge{Name: "foreign"}), state.Shared(bridging.Bridge{Name: "used"}))
	testnet.Sh(t, "ip", "link", "add", "uplink", "master", "used", "type", "veth", "peer", "name", "far")
	for _, name := range []string{"foreign", "used", "uplink", "absent", ""} {
		if err := sweep.Discard(statetest.Open(t, nil), "net", name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	statetest.Shows(t, testnet.Sh(t, "ip", "link"), "foreign", "used", "uplink")
}
