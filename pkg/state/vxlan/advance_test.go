package vxlan_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/fairway-cni/fairway/pkg/state/vxlan"
)

// From any peers to any others, the difference leaves what comparing everything would have made.
func TestAdvance(t *testing.T) {
	k := overlayHost(t)
	before := overlay(nil)
	if _, err := before.Ensure(k); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for round := range 60 {
		var list []vxlan.Peer
		var blocks []netip.Prefix
		for _, p := range peers(6) {
			if r.IntN(3) > 0 {
				blocks = append(blocks, p.Prefixes...)
				list = append(list, vxlan.Peer{VTEP: p.VTEP, MAC: p.MAC})
			}
		}
		for _, b := range blocks { // of any of them
			if i := r.IntN(len(list) + 1); i < len(list) {
				list[i].Prefixes = append(list[i].Prefixes, b)
			}
		}
		after := overlay(slices.Clone(list))
		ok, err := after.Advance(k, before)
		if !ok || err != nil {
			t.Fatalf("round %d: %v, %v", round, ok, err)
		}
		if err := after.Verify(k); err != nil {
			t.Fatalf("round %d: from %v\nto %v: %v", round, before.Peers.Peers, after.Peers.Peers, err)
		}
		before = after
	}
	other := before
	other.Device.MTU = 1400
	if ok, err := other.Advance(k, before); ok || err != nil {
		t.Errorf("another device: %v, %v, want that Ensure is for it", ok, err)
	}
}
