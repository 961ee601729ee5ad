package rulewatch

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
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
	rules := append(state.Set{ruleset.Isolation{Bridge: "br0", Link: "br0", Isolated: true}}, set[3:]...)
	asked := make(chan struct{}, 64)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- host.Do(func() error {
			return watch(ctx, true, func(context.Context) {
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
		wantRepaired(t, loss, rules)
	}
	// What is lost while rules are declared again comes back as well.
	for range 3 {
		testnet.Sh(t, "nft", "flush", "ruleset")
		<-asked
		testnet.Sh(t, "nft", "flush", "ruleset")
		wantRepaired(t, "two losses", rules)
	}
	time.Sleep(4 * settle) // what it replaced itself
	for len(asked) > 0 {
		<-asked
	}
	// An ADD on a subnet that is new writes all rules afresh.
	other := ruleset.Masquerade{Owner: statetest.Owner("b"), Link: "br0", Prefixes: statetest.Prefixes("10.2.0.2/24")}
	statetest.Ensure(t, statetest.Open(t, nil), other, true)
	select {
	case <-asked:
		t.Error("an ADD was taken for a loss")
	case <-time.After(4 * settle):
	}
	if err := set.Remove(k); err != nil {
		t.Fatal(err)
	}
	select {
	case <-asked: // also if it replaces for ever what it has declared itself
		t.Error("the removal of an attachment was taken for a loss")
	case <-time.After(4 * settle):
	}
	cancel()
	<-ended
}

// wantRepaired waits until rules are there again.
func wantRepaired(t *testing.T, loss string, rules state.Set) {
	t.Helper()
	var err error
	for end := time.Now().Add(statetest.Patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = rules.Verify(statetest.Open(t, nil)); err == nil {
			return
		}
	}
	t.Errorf("%s: %v", loss, err)
}

// What a process deletes itself is no loss to it: an agent would compare all networks for each host that goes. The same by others is.
func TestOwnDeletions(t *testing.T) {
	host := testnet.NewHost(t)
	filter := ruleset.SourceFilter{Network: "blue", VNI: 42, Port: 4789, Sources: []netip.Addr{netip.MustParseAddr("192.0.2.11"), netip.MustParseAddr("192.0.2.12")}}
	k := statetest.Open(t, nil)
	statetest.Ensure(t, k, filter, false)
	asked := make(chan struct{}, 64)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- host.Do(func() error { return Watch(ctx, func(context.Context) { asked <- struct{}{} }) })
	}()
	time.Sleep(300 * time.Millisecond) // until it listens
	for _, gone := range filter.Sources {
		less := filter
		less.Sources = slices.DeleteFunc(slices.Clone(filter.Sources), func(a netip.Addr) bool { return a == gone })
		if err := less.Advance(k, filter); err != nil {
			t.Fatal(err)
		}
		if err := filter.Advance(k, less); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-asked:
		t.Error("what the process deleted itself is taken for a loss")
	case <-time.After(4 * settle):
	}
	testnet.Sh(t, "nft", "flush", "set", "inet", "fairway", "peers4")
	select {
	case <-asked:
	case <-time.After(10 * time.Second):
		t.Error("what somebody else deleted is not noticed")
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
