package ruleset_test

import (
	"net"
	"testing"

	"github.com/fairway-cni/fairway/pkg/state/ruleset"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestSpoofCheck(t *testing.T) {
	testnet.NewHost(t)
	check := ruleset.SpoofCheck{Owner: statetest.Owner("a"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	statetest.Drifts(t, nil, check, "chain prerouting of nftables table bridge fairway has not the rules of this version")
	statetest.Ensure(t, statetest.Open(t, nil), check, true)
	statetest.Verifies(t, nil, check)
	statetest.Ensure(t, statetest.Open(t, nil), check, true)
	statetest.Verifies(t, nil, check)

	port := statetest.Owner("a").HostLink()
	testnet.Sh(t, "nft", "delete element bridge fairway checked { "+port+" }")
	statetest.Drifts(t, nil, check, `nftables set checked has no element of "fairway net a eth0"`)
	statetest.Ensure(t, statetest.Open(t, nil), check, true)
	testnet.Sh(t, "nft", "delete element bridge fairway genuine { "+port+" . 02:00:00:00:00:01 }")
	statetest.Drifts(t, nil, check, `nftables set genuine has no element of "fairway net a eth0"`)
	statetest.Ensure(t, statetest.Open(t, nil), check, true)
	testnet.Sh(t, "nft", "flush chain bridge fairway prerouting")
	statetest.Drifts(t, nil, check, "chain prerouting of nftables table bridge fairway has not the rules of this version")

	statetest.Removes(t, nil, ruleset.SpoofCheck{Owner: statetest.Owner("a")}) // DEL may know no MAC
	statetest.Lacks(t, testnet.Sh(t, "nft", "list ruleset"), "fairway net", port)
}

// The ruleset that nft prints can be read back.
func TestSpoofCheckRestored(t *testing.T) {
	testnet.NewHost(t)
	check := ruleset.SpoofCheck{Owner: statetest.Owner("a"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	statetest.Ensure(t, statetest.Open(t, nil), check, true)
	testnet.Sh(t, "sh", "-c", "nft list ruleset > $0/rules && nft flush ruleset && nft -f $0/rules", t.TempDir())
	statetest.Verifies(t, nil, check)
}

// Frames between two ports of a bridge are checked as well as those to the host.
func TestSpoofCheckDrops(t *testing.T) {
	host := testnet.NewHost(t)
	a, b := statetest.NewGuest(t, 1, 2), statetest.NewGuest(t, 1, 3)
	statetest.Ensure(t, statetest.Open(t, nil), ruleset.SpoofCheck{Owner: a.Owner, MAC: a.Owner.MAC()}, true)
	pass := func(from statetest.Guest, to *testnet.Namespace, addr string, want bool) {
		t.Helper()
		statetest.Reaches(t, from.Namespace, to, statetest.MustAddr(addr), want)
	}
	pass(a, b.Namespace, "10.1.0.3", true)
	pass(a, host, "10.1.0.1", true)

	a.Sh(t, "ip", "link", "set", "eth0", "address", "02:00:00:00:00:0a")
	b.Sh(t, "ip", "link", "set", "eth0", "address", "02:00:00:00:00:0b")
	pass(a, b.Namespace, "10.1.0.3", false)
	pass(a, b.Namespace, "fdb1::3", false)
	pass(a, host, "10.1.0.1", false)
	pass(b, host, "10.1.0.1", true) // not checked

	statetest.Removes(t, nil, ruleset.SpoofCheck{Owner: a.Owner})
	pass(a, b.Namespace, "10.1.0.3", true)
}

// What is not checked is declared, too.
func TestSpoofCheckOff(t *testing.T) {
	testnet.NewHost(t)
	on := ruleset.SpoofCheck{Owner: statetest.Owner("a"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	off := ruleset.SpoofCheck{Owner: statetest.Owner("a"), MAC: on.MAC, Off: true}
	statetest.Ensure(t, statetest.Open(t, nil), off, false) // without a table
	statetest.Verifies(t, nil, off)
	statetest.Ensure(t, statetest.Open(t, nil), on, true)
	statetest.Drifts(t, nil, off, `nftables set checked has an element of "fairway net a eth0" that is not declared`)
	statetest.Ensure(t, statetest.Open(t, nil), off, false)
	statetest.Verifies(t, nil, off)
	statetest.Lacks(t, testnet.Sh(t, "nft", "list ruleset"), "fairway net a")
}

// The same link may come again with another MAC, and only with that one.
func TestSpoofCheckOfAnotherMAC(t *testing.T) {
	testnet.NewHost(t)
	before := ruleset.SpoofCheck{Owner: statetest.Owner("a"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	after := ruleset.SpoofCheck{Owner: statetest.Owner("a"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}}
	statetest.Ensure(t, statetest.Open(t, nil), before, true)
	statetest.Drifts(t, nil, after, "set genuine has no element")
	statetest.Ensure(t, statetest.Open(t, nil), after, true)
	statetest.Verifies(t, nil, after)
	statetest.Lacks(t, testnet.Sh(t, "nft", "list ruleset"), "02:00:00:00:00:01")
}

func TestSpoofCheckString(t *testing.T) {
	got := ruleset.SpoofCheck{Owner: statetest.Owner("a"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}.String()
	port := statetest.Owner("a").HostLink()
	want := "nft add element bridge fairway checked { " + port + " } && nft add element bridge fairway genuine { " + port + " . 02:00:00:00:00:01 }"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
