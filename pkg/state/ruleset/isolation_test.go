package ruleset_test

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/state/ruleset"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestIsolation(t *testing.T) {
	for _, test := range []struct {
		name      string
		isolation ruleset.Isolation
		set       string
	}{
		{"internal", ruleset.Isolation{Bridge: "br0", Link: "br0", Internal: true}, "internal"},
		{"isolated", ruleset.Isolation{Bridge: "br0", Link: "br0", Isolated: true}, "isolated"},
		{"both", ruleset.Isolation{Bridge: "br0", Link: "br0", Internal: true, Isolated: true}, "isolated"},
	} {
		t.Run(test.name, func(t *testing.T) {
			testnet.NewHost(t)
			statetest.Drifts(t, nil, test.isolation, "chain forward of nftables table inet fairway has not the rules of this version")
			statetest.Ensure(t, statetest.Open(t, nil), test.isolation, true)
			statetest.Verifies(t, nil, test.isolation)
			statetest.Ensure(t, statetest.Open(t, nil), test.isolation, false)

			testnet.Sh(t, "nft", "delete element inet fairway "+test.set+" { br0 }")
			statetest.Drifts(t, nil, test.isolation, "nftables set "+test.set+` has no element of "fairway-bridge br0"`)
			statetest.Ensure(t, statetest.Open(t, nil), test.isolation, true)
			testnet.Sh(t, "nft", "flush chain inet fairway forward")
			statetest.Drifts(t, nil, test.isolation, "chain forward of nftables table inet fairway has not the rules of this version")

			other := ruleset.Isolation{Bridge: "br1", Link: "br1", Internal: true}
			statetest.Ensure(t, statetest.Open(t, nil), other, true)
			statetest.Removes(t, nil, test.isolation)
			statetest.Lacks(t, testnet.Sh(t, "nft", "list ruleset"), "br0")
			statetest.Shows(t, testnet.Sh(t, "nft", "list ruleset"), "br1")
		})
	}
}

// The ruleset that nft prints can be read back.
func TestIsolationRestored(t *testing.T) {
	testnet.NewHost(t)
	isolation := ruleset.Isolation{Bridge: "br0", Link: "br0", Internal: true, Isolated: true, Separate: true}
	statetest.Ensure(t, statetest.Open(t, nil), isolation, true)
	testnet.Sh(t, "sh", "-c", "nft list ruleset > $0/rules && nft flush ruleset && nft -f $0/rules", t.TempDir())
	statetest.Verifies(t, nil, isolation)
}

// Who reaches whom: two containers a and b of a limited bridge, one of another bridge, the outside, and the host.
func TestIsolationDrops(t *testing.T) {
	for _, test := range []struct {
		name                                string
		isolation                           ruleset.Isolation
		toOutside, fromOutside, otherBridge bool
	}{
		{"none", ruleset.Isolation{}, true, true, true},
		{"internal", ruleset.Isolation{Internal: true}, false, false, false},
		{"isolated", ruleset.Isolation{Isolated: true}, true, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			host := testnet.NewHost(t)
			outside := statetest.NewOutside(t)
			outside.Sh(t, "ip", "route", "add", "10.0.0.0/8", "via", "192.0.2.1")
			outside.Sh(t, "ip", "route", "add", "fd00::/8", "via", "fd99::1")
			a, b, other := statetest.NewGuest(t, 1, 2), statetest.NewGuest(t, 1, 3), statetest.NewGuest(t, 2, 2)
			test.isolation.Bridge, test.isolation.Link = "br1", "br1"
			statetest.Ensure(t, statetest.Open(t, nil), test.isolation, true)
			statetest.Ensure(t, statetest.Open(t, nil), ruleset.Isolation{Bridge: "br2", Link: "br2"}, true)
			for _, way := range []struct {
				from, to *testnet.Namespace
				addrs    []string
				want     bool
			}{
				{a.Namespace, b.Namespace, []string{"10.1.0.3", "fdb1::3"}, true},
				{a.Namespace, host, []string{"10.1.0.1", "fdb1::1"}, true},
				{a.Namespace, outside, []string{"192.0.2.2", "fd99::2"}, test.toOutside},
				{outside, a.Namespace, []string{"10.1.0.2", "fdb1::2"}, test.fromOutside},
				{a.Namespace, other.Namespace, []string{"10.2.0.2", "fdb2::2"}, test.otherBridge},
				{other.Namespace, a.Namespace, []string{"10.1.0.2", "fdb1::2"}, test.otherBridge},
				{other.Namespace, outside, []string{"192.0.2.2", "fd99::2"}, true},
			} {
				for _, addr := range way.addrs {
					statetest.Reaches(t, way.from, way.to, statetest.MustAddr(addr), way.want)
				}
			}
		})
	}
}

// Whoever made it, an ADD that fails must not open the bridge for the containers that are there.
func TestIsolationOfBridgeInUse(t *testing.T) {
	testnet.NewHost(t)
	statetest.NewGuest(t, 1, 2)
	isolation := ruleset.Isolation{Bridge: "br1", Link: "br1", Internal: true}
	statetest.Ensure(t, statetest.Open(t, nil), isolation, true)
	statetest.Removes(t, nil, isolation)
	statetest.Verifies(t, nil, isolation)
}

func TestIsolationReady(t *testing.T) {
	testnet.NewHost(t)
	if err := (ruleset.Isolation{Bridge: "br0", Link: "br0"}).Ready(statetest.Open(t, nil)); err != nil {
		t.Error(err)
	}
}

func TestIsolationString(t *testing.T) {
	got := ruleset.Isolation{Bridge: "br0", Link: "br0.7", Internal: true, Isolated: true, Separate: true}.String()
	want := "nft add element inet fairway bridges { br0.7 } && nft add element inet fairway within { br0.7 . br0.7 } && " +
		"nft add element inet fairway internal { br0.7 } && nft add element inet fairway isolated { br0.7 } && " +
		"nft add element inet fairway no_icc { br0.7 . br0.7 }"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
