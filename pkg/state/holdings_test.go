package state_test

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestHoldings(t *testing.T) {
	k, _ := newPair(t)
	if held, err := state.Holdings(k); err != nil || len(held) != 0 {
		t.Fatalf("on a fresh host: %v, %v", held, err)
	}
	a := owner("c1")
	address := netip.MustParsePrefix("10.8.0.2/24")
	apply(t, k, state.Bridge{Name: "br0"},
		state.Veth{Owner: a, MAC: a.MAC(), Bridge: "br0"},
		state.Masquerade{Owner: a, Prefixes: []netip.Prefix{address}},
		state.SpoofCheck{Owner: a, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}},
		state.Isolation{Bridge: "br0", Internal: true})
	testnet.Sh(t, "ip", "link", "add", "other0", "type", "bridge")
	testnet.Sh(t, "ip", "link", "set", "other0", "alias", "somebody else")

	held, err := state.Holdings(k)
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
		"element of nftables map inet fairway masquerade4", "element of nftables set bridge fairway checked",
		"element of nftables set bridge fairway genuine", "link " + a.HostLink(),
	}
	if diff := cmp.Diff(want, objects); diff != "" {
		t.Errorf("holdings (-want +got):\n%s", diff)
	}
	if addrs, err := state.Masqueraded(k); err != nil || !slices.Equal(addrs, []netip.Addr{address.Addr()}) {
		t.Errorf("masqueraded: %v, %v", addrs, err)
	}
}
