package ruleset

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/nftables"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// An element that a listing leaves out is looked up before it counts as missing.
func TestAListingThatLeavesElementsOut(t *testing.T) {
	testnet.NewHost(t)
	k, err := kernel.Open("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	f := SourceFilter{Network: "blue", VNI: 42, Port: 4789}
	for i := range 100 {
		f.Sources = append(f.Sources, netip.AddrFrom4([4]byte{198, 18, 0, byte(i)}))
	}
	if _, err := f.Ensure(k); err != nil {
		t.Fatal(err)
	}
	d := f.declared()
	d.sets = slices.DeleteFunc(d.sets, func(s *nftables.Set) bool { return s.Name == "peers4" }) // as if it left out all
	if missing, surplus, err := d.compare(k); err != nil || len(missing)+len(surplus) > 0 {
		t.Errorf("missing %v, surplus %v, %v", missing, surplus, err)
	}
	testnet.Sh(t, "nft", "delete element inet fairway peers4 { 4789 . 42 . 198.18.0.7 }")
	if missing, _, err := d.compare(k); err != nil || len(missing) != 1 {
		t.Errorf("%d are missing, %v, want the one that was deleted", len(missing), err)
	}
}
