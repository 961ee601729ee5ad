package state_test

import (
	"net"
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestSpoofCheck(t *testing.T) {
	testnet.NewHost(t)
	check := state.SpoofCheck{Owner: owner("a"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	drifts(t, nil, check, "chain prerouting of nftables table bridge fairway has 0 rules instead of 1")
	ensure(t, open(t, nil), check, true)
	verifies(t, nil, check)
	ensure(t, open(t, nil), check, true)
	verifies(t, nil, check)

	port := owner("a").HostLink()
	testnet.Sh(t, "nft", "delete element bridge fairway checked { "+port+" }")
	drifts(t, nil, check, `nftables set checked has no element of "fairway net a eth0"`)
	ensure(t, open(t, nil), check, true)
	testnet.Sh(t, "nft", "delete element bridge fairway genuine { "+port+" . 02:00:00:00:00:01 }")
	drifts(t, nil, check, `nftables set genuine has no element of "fairway net a eth0"`)
	ensure(t, open(t, nil), check, true)
	testnet.Sh(t, "nft", "flush chain bridge fairway prerouting")
	drifts(t, nil, check, "chain prerouting of nftables table bridge fairway has 0 rules instead of 1")

	removes(t, nil, state.SpoofCheck{Owner: owner("a")}) // DEL may know no MAC
	lacks(t, testnet.Sh(t, "nft", "list ruleset"), "fairway net", port)
}

// The ruleset as nft prints it, and reads it back.
func TestSpoofCheckRules(t *testing.T) {
	testnet.NewHost(t)
	check := state.SpoofCheck{Owner: owner("a"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	ensure(t, open(t, nil), check, true)
	port := owner("a").HostLink()
	want := `table bridge fairway {
	set checked {
		type ifname
		elements = { "` + port + `" comment "fairway net a eth0" }
	}

	set genuine {
		type ifname . ether_addr
		elements = { "` + port + `" . 02:00:00:00:00:01 comment "fairway net a eth0" }
	}

	chain prerouting {
		type filter hook prerouting priority 0; policy accept;
		iifname @checked iifname . ether saddr != @genuine drop
	}
}`
	if got := testnet.Sh(t, "nft", "list", "ruleset"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	testnet.Sh(t, "sh", "-c", "nft list ruleset > $0/rules && nft flush ruleset && nft -f $0/rules", t.TempDir())
	verifies(t, nil, check)
}

// Frames between two ports of a bridge are checked as well as those to the host.
func TestSpoofCheckDrops(t *testing.T) {
	host := testnet.NewHost(t)
	a, b := newGuest(t, 1, 2), newGuest(t, 1, 3)
	ensure(t, open(t, nil), state.SpoofCheck{Owner: a.owner, MAC: a.owner.MAC()}, true)
	pass := func(from guest, to *testnet.Namespace, addr string, want bool) {
		t.Helper()
		reaches(t, from.Namespace, to, mustAddr(addr), want)
	}
	pass(a, b.Namespace, "10.1.0.3", true)
	pass(a, host, "10.1.0.1", true)

	a.Sh(t, "ip", "link", "set", "eth0", "address", "02:00:00:00:00:0a")
	b.Sh(t, "ip", "link", "set", "eth0", "address", "02:00:00:00:00:0b")
	pass(a, b.Namespace, "10.1.0.3", false)
	pass(a, b.Namespace, "fdb1::3", false)
	pass(a, host, "10.1.0.1", false)
	pass(b, host, "10.1.0.1", true) // not checked

	removes(t, nil, state.SpoofCheck{Owner: a.owner})
	pass(a, b.Namespace, "10.1.0.3", true)
}

// The same link may come again with another MAC, and only with that one.
func TestSpoofCheckOfAnotherMAC(t *testing.T) {
	testnet.NewHost(t)
	before := state.SpoofCheck{Owner: owner("a"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	after := state.SpoofCheck{Owner: owner("a"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}}
	ensure(t, open(t, nil), before, true)
	drifts(t, nil, after, "set genuine has no element")
	ensure(t, open(t, nil), after, true)
	verifies(t, nil, after)
	lacks(t, testnet.Sh(t, "nft", "list ruleset"), "02:00:00:00:00:01")
}

func TestSpoofCheckString(t *testing.T) {
	got := state.SpoofCheck{Owner: owner("a"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}.String()
	port := owner("a").HostLink()
	want := "nft add element bridge fairway checked { " + port + " } && nft add element bridge fairway genuine { " + port + " . 02:00:00:00:00:01 }"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
