package sweep_test

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/bridging"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/state/sweep"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestHoldings(t *testing.T) {
	k, _ := statetest.NewPair(t)
	if held, err := sweep.Holdings(k); err != nil || len(held) != 0 {
		t.Fatalf("on a fresh host: %v, %v", held, err)
	}
	a := statetest.Owner("c1")
	address := netip.MustParsePrefix("10.8.0.2/24")
	statetest.Apply(t, k, bridging.Bridge{Name: "br0"},
		state.Veth{Owner: a, MAC: a.MAC(), Bridge: "br0"},
		ruleset.Masquerade{Owner: a, Link: "br1", Prefixes: []netip.Prefix{address}},
		ruleset.SpoofCheck{Owner: a, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}},
		ruleset.Isolation{Bridge: "br0", Link: "br0", Internal: true})
	testnet.Sh(t, "ip", "link", "add", "other0", "type", "bridge")
	testnet.Sh(t, "ip", "link", "set", "other0", "alias", "somebody else")

	held, err := sweep.Holdings(k)
	if err != nil {
		t.Fatal(err)
	}
	var objects []string
	for _, h := range held {
		if h.Tag != a.Tag() {
			t.Errorf("%s belongs to %q, want %q", h.Object, h.Tag, a.Tag())
		}
		objects = append(objects, h.Object)
	}
	slices.Sort(objects)
	want := []string{
		"element of nftables map inet fairway masquerade_from4", "element of nftables set bridge fairway checked",
		"element of nftables set bridge fairway genuine", "link " + a.HostLink(),
	}
	if diff := cmp.Diff(want, objects); diff != "" {
		t.Errorf("holdings (-want +got):\n%s", diff)
	}
	if addrs, err := ruleset.Masqueraded(k); err != nil || !slices.Equal(addrs, []netip.Addr{address.Addr()}) {
		t.Errorf("masqueraded: %v, %v", addrs, err)
	}
}
