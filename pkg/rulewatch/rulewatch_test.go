package rulewatch

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/bridging"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestMain(m *testing.M) { testnet.Run(m) }

// TestWatch: what others delete is noticed, and a container's DEL is not taken for that.
func TestWatch(t *testing.T) {
	host := testnet.NewHost(t)
	container := testnet.NewNS(t, "c")
	a := statetest.Owner("a")
	set := state.Set{
		state.Shared(bridging.Bridge{Name: "br0"}), state.Shared(ruleset.Isolation{Bridge: "br0", Link: "br0", Isolated: true}),
		state.Veth{Owner: a, MAC: a.MAC(), Bridge: "br0"},
		ruleset.SpoofCheck{Owner: a, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}},
		ruleset.Masquerade{Owner: a, Link: "br0", Prefixes: statetest.Prefixes("10.1.0.2/24")},
	}
	k := statetest.Open(t, container)
	statetest.Apply(t, k, set...)
	asked := make(chan struct{}, 64)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- host.Do(func() error {
			return Watch(ctx, func(context.Context) {
				// On another thread: what it declares again is up to whoever asks for it.
				if err := host.Do(func() error { return set.Redeclare(statetest.Open(t, nil), true) }); err != nil {
					t.Error(err)
				}
				asked <- struct{}{}
			})
		})
	}()
	time.Sleep(300 * time.Millisecond) // until it listens
	for _, loss := range []string{
		"nft flush ruleset", "nft delete table inet fairway", "nft flush table inet fairway", "nft flush chain bridge fairway prerouting",
		"nft delete element inet fairway isolated '{ br0 }'", "nft flush map inet fairway masquerade_from4", "nft flush set bridge fairway checked",
	} {
		testnet.Sh(t, "sh", "-c", loss)
		select {
		case <-asked:
		case <-time.After(statetest.Patience):
			t.Errorf("%s: not noticed", loss)
		}
		if err := set[3:].Verify(statetest.Open(t, nil)); err != nil {
			t.Errorf("%s: %v", loss, err)
		}
		statetest.Verifies(t, nil, ruleset.Isolation{Bridge: "br0", Link: "br0", Isolated: true})
	}
	if err := set.Remove(k); err != nil {
		t.Fatal(err)
	}
	select {
	case <-asked:
		t.Error("the removal of an attachment was taken for a loss")
	case <-time.After(4 * settle):
	}
	cancel()
	<-ended
}
