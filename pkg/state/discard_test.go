package state_test

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestDiscard(t *testing.T) {
	k, _ := newPair(t)
	bridge := state.Bridge{Name: "br0"}
	apply(t, k, state.Shared(bridge), state.Shared(state.Isolation{Bridge: "br0", Isolated: true}),
		state.Veth{Owner: owner("left"), MAC: owner("left").MAC(), Bridge: "br0"})
	for range 2 {
		if err := state.Discard(open(t, nil), "net", "br0"); err != nil {
			t.Fatal(err)
		}
		lacks(t, testnet.Sh(t, "ip", "link"), "br0", owner("left").HostLink())
		lacks(t, testnet.Sh(t, "nft", "list", "ruleset"), "br0")
	}
}

func TestDiscardKeepsWhatOthersHave(t *testing.T) {
	k, _ := newPair(t)
	testnet.Sh(t, "ip", "link", "add", "foreign", "type", "bridge")
	apply(t, k, state.Shared(state.Bridge{Name: "foreign"}), state.Shared(state.Bridge{Name: "used"}))
	testnet.Sh(t, "ip", "link", "add", "uplink", "master", "used", "type", "veth", "peer", "name", "far")
	for _, name := range []string{"foreign", "used", "uplink", "absent", ""} {
		if err := state.Discard(open(t, nil), "net", name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	shows(t, testnet.Sh(t, "ip", "link"), "foreign", "used", "uplink")
}
