package ruleset_test

import (
	"bytes"
	"net/netip"
	"os/exec"
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestMasquerade(t *testing.T) {
	testnet.NewHost(t)
	masquerade := ruleset.Masquerade{Owner: statetest.Owner("a"), Link: "br1", Prefixes: statetest.Prefixes("10.1.0.2/24", "fdb1::2/64")}
	statetest.Drifts(t, nil, masquerade, "chain postrouting")
	statetest.Ensure(t, statetest.Open(t, nil), masquerade, true)
	statetest.Verifies(t, nil, masquerade)
	statetest.Ensure(t, statetest.Open(t, nil), masquerade, true)
	statetest.Verifies(t, nil, masquerade)

	testnet.Sh(t, "nft", "delete", "element", "inet", "fairway", "masquerade_from4", "{ br1 . 10.1.0.2 }")
	statetest.Drifts(t, nil, masquerade, `masquerade_from4 has no element of "fairway net a eth0"`)
	statetest.Ensure(t, statetest.Open(t, nil), masquerade, true)
	testnet.Sh(t, "nft", "flush", "chain", "inet", "fairway", "subnet_10.1.0.0/24")
	statetest.Drifts(t, nil, masquerade, "chain subnet_10.1.0.0/24 of nftables table inet fairway has not the rules of this version")

	// DEL knows no addresses.
	statetest.Removes(t, nil, ruleset.Masquerade{Owner: statetest.Owner("a")})
	statetest.Lacks(t, testnet.Sh(t, "nft", "list", "ruleset"), "10.1.0.2", "fairway net")
	statetest.Ensure(t, statetest.Open(t, nil), ruleset.Masquerade{Owner: statetest.Owner("a")}, false) // no lease, nothing to do
}

// The ruleset that nft prints can be read back: an administrator saves and restores rulesets so.
func TestMasqueradeRestored(t *testing.T) {
	testnet.NewHost(t)
	masquerade := ruleset.Masquerade{Owner: statetest.Owner("a"), Link: "br1", Prefixes: statetest.Prefixes("10.1.0.2/24", "fdb1::2/64")}
	statetest.Ensure(t, statetest.Open(t, nil), masquerade, true)
	testnet.Sh(t, "sh", "-c", "nft list ruleset > $0/rules && nft flush ruleset && nft -f $0/rules", t.TempDir())
	statetest.Verifies(t, nil, masquerade)
}

func TestMasqueradeTranslates(t *testing.T) {
	testnet.NewHost(t)
	outside := statetest.NewOutside(t)
	a, b, other := statetest.NewGuest(t, 1, 2), statetest.NewGuest(t, 1, 3), statetest.NewGuest(t, 2, 2)
	for _, g := range []statetest.Guest{a, b, other} {
		statetest.Ensure(t, statetest.Open(t, g.Namespace), g.Masquerade(), true)
	}
	for _, test := range []struct {
		name string
		from statetest.Guest
		to   *testnet.Namespace
		addr string
		want string
	}{
		{"outside", a, outside, "192.0.2.2", "192.0.2.1"},
		{"outside by IPv6", a, outside, "fd99::2", "fd99::1"},
		{"the same subnet", a, b.Namespace, "10.1.0.3", "10.1.0.2"},
		{"the same subnet by IPv6", a, b.Namespace, "fdb1::3", "fdb1::2"},
		{"another bridge", a, other.Namespace, "10.2.0.2", "10.2.0.1"},
		{"another bridge by IPv6", a, other.Namespace, "fdb2::2", "fdb2::1"},
	} {
		if got := statetest.Source(t, test.from.Namespace, test.to, netip.MustParseAddr(test.addr), statetest.Patience).String(); got != test.want {
			t.Errorf("%s: source %s, want %s", test.name, got, test.want)
		}
	}
	// Without its elements, a container keeps its address, which the outside has no route to.
	statetest.Removes(t, nil, ruleset.Masquerade{Owner: a.Owner})
	if got := statetest.Source(t, a.Namespace, outside, statetest.Outside4, statetest.Patience).String(); got != "10.1.0.2" {
		t.Errorf("after Remove: source %s", got)
	}
	if got := statetest.Source(t, b.Namespace, outside, statetest.Outside4, statetest.Patience).String(); got != "192.0.2.1" {
		t.Errorf("the other container: source %s", got)
	}
}

// A multicast keeps its source, as its receivers answer by it.
func TestMasqueradeLeavesMulticast(t *testing.T) {
	testnet.NewHost(t)
	outside := statetest.NewOutside(t)
	a := statetest.NewGuest(t, 1, 2)
	statetest.Ensure(t, statetest.Open(t, nil), a.Masquerade(), true)
	// A multicast after its routing, so that the test needs no multicast router.
	testnet.Sh(t, "ip", "route", "add", "198.51.100.0/24", "via", "192.0.2.2")
	testnet.Sh(t, "nft", "add table ip test; add chain ip test forward { type filter hook forward priority filter; }; "+
		"add rule ip test forward ip daddr 198.51.100.9 ip daddr set 239.1.2.3")
	heard := outside.Capture(t, "eth0")
	for _, test := range []struct{ to, source, arrives string }{
		{"198.51.100.9", "10.1.0.2", "239.1.2.3"}, {"198.51.100.8", "192.0.2.1", "198.51.100.8"},
	} {
		if err := a.Do(func() error { return statetest.Send(test.to + ":4000") }); err != nil {
			t.Fatal(err)
		}
		source, to := netip.MustParseAddr(test.source).AsSlice(), netip.MustParseAddr(test.arrives).AsSlice()
		isFrom := func(f []byte) bool {
			return len(f) >= 34 && f[12] == 0x08 && f[13] == 0 && bytes.Equal(f[26:30], source) && bytes.Equal(f[30:34], to)
		}
		if !heard.Await(t, statetest.Patience, isFrom) {
			t.Errorf("no packet from %s to %s", test.source, test.arrives)
		}
	}
}

// An element that an earlier holder of the address left must not go when that holder is cleaned up.
func TestMasqueradeTakesOver(t *testing.T) {
	for _, test := range []struct {
		name           string
		before, after  []netip.Prefix
		stale, current string
	}{
		{"the same subnet", statetest.Prefixes("10.1.0.2/24"), statetest.Prefixes("10.1.0.2/24"), "fairway net a ", "jump subnet_10.1.0.0/24"},
		{"another length", statetest.Prefixes("10.1.0.2/16"), statetest.Prefixes("10.1.0.2/24"), "fairway net a ", "jump subnet_10.1.0.0/24"},
		{"one of two families", statetest.Prefixes("10.1.0.2/24"), statetest.Prefixes("10.1.0.2/24", "fdb1::2/64"), "fairway net a ", "fdb1::2 comment"},
	} {
		t.Run(test.name, func(t *testing.T) {
			testnet.NewHost(t)
			a, b := ruleset.Masquerade{Owner: statetest.Owner("a"), Link: "br1", Prefixes: test.before}, ruleset.Masquerade{Owner: statetest.Owner("b"), Link: "br1", Prefixes: test.after}
			statetest.Ensure(t, statetest.Open(t, nil), a, true)
			statetest.Drifts(t, nil, b, "")
			statetest.Ensure(t, statetest.Open(t, nil), b, true)
			statetest.Verifies(t, nil, b)
			statetest.Drifts(t, nil, a, "")
			statetest.Removes(t, nil, a)
			statetest.Verifies(t, nil, b)
			rules := testnet.Sh(t, "nft", "list", "ruleset")
			statetest.Shows(t, rules, test.current)
			statetest.Lacks(t, rules, test.stale)
		})
	}
}

// Networks may have the same subnet: each container keeps its element, and goes with it alone.
func TestMasqueradeOfEqualSubnets(t *testing.T) {
	testnet.NewHost(t)
	a := ruleset.Masquerade{Owner: statetest.Owner("a"), Link: "br1", Prefixes: statetest.Prefixes("10.1.0.2/24", "fdb1::2/64")}
	b := ruleset.Masquerade{Owner: statetest.Owner("b"), Link: "br2", Prefixes: a.Prefixes}
	statetest.Ensure(t, statetest.Open(t, nil), a, true)
	statetest.Ensure(t, statetest.Open(t, nil), b, true)
	statetest.Verifies(t, nil, a)
	statetest.Verifies(t, nil, b)
	statetest.Removes(t, nil, b)
	statetest.Verifies(t, nil, a)
}

// What is not masqueraded is declared, too.
func TestMasqueradeOff(t *testing.T) {
	testnet.NewHost(t)
	on := ruleset.Masquerade{Owner: statetest.Owner("a"), Link: "br1", Prefixes: statetest.Prefixes("10.1.0.2/24", "fdb1::2/64")}
	off := ruleset.Masquerade{Owner: statetest.Owner("b"), Link: "br1", Prefixes: on.Prefixes, Off: true}
	statetest.Ensure(t, statetest.Open(t, nil), off, false) // without a table
	statetest.Verifies(t, nil, off)
	statetest.Ensure(t, statetest.Open(t, nil), on, true)
	statetest.Drifts(t, nil, off, `nftables set masquerade_from4 has an element of "fairway net a eth0" that is not declared`)
	statetest.Ensure(t, statetest.Open(t, nil), off, false)
	statetest.Verifies(t, nil, off)
	statetest.Lacks(t, testnet.Sh(t, "nft", "list", "ruleset"), "fairway net a")
}

// The same owner may come again with its address in a subnet of another length.
func TestMasqueradeOfChangedSubnet(t *testing.T) {
	testnet.NewHost(t)
	before, after := ruleset.Masquerade{Owner: statetest.Owner("a"), Link: "br1", Prefixes: statetest.Prefixes("10.1.0.2/16")}, ruleset.Masquerade{Owner: statetest.Owner("a"), Link: "br1", Prefixes: statetest.Prefixes("10.1.0.2/24")}
	statetest.Ensure(t, statetest.Open(t, nil), before, true)
	statetest.Drifts(t, nil, after, "")
	statetest.Ensure(t, statetest.Open(t, nil), after, true)
	statetest.Verifies(t, nil, after)
	statetest.Drifts(t, nil, before, `leads to "subnet_10.1.0.0/24" instead of "subnet_10.1.0.0/16"`)
}

// The connections of an address are forgotten both ways, and no other's.
func TestMasqueradeForgetsConnections(t *testing.T) {
	testnet.NewHost(t)
	outside := statetest.NewOutside(t)
	a, b := statetest.NewGuest(t, 1, 2), statetest.NewGuest(t, 1, 3)
	for _, g := range []statetest.Guest{a, b} {
		statetest.Ensure(t, statetest.Open(t, g.Namespace), g.Masquerade(), true)
		for _, addr := range []string{"192.0.2.2", "fd99::2"} {
			statetest.Reaches(t, g.Namespace, outside, netip.MustParseAddr(addr), true)
		}
	}
	// As a published port does, the outside reaches a container by an address of the host.
	testnet.Sh(t, "nft", "add table inet pub; add chain inet pub pre { type nat hook prerouting priority dstnat; }; "+
		"add rule inet pub pre ip daddr 192.0.2.1 dnat ip to 10.1.0.2; add rule inet pub pre ip6 daddr fd99::1 dnat ip6 to fdb1::2")
	for _, addr := range []string{"192.0.2.1", "fd99::1"} {
		if err := outside.Do(func() error { return statetest.Send(netip.AddrPortFrom(netip.MustParseAddr(addr), 4000).String()) }); err != nil {
			t.Fatal(err)
		}
	}
	statetest.Shows(t, connections(t), "src=10.1.0.2 dst=192.0.2.2", "src=fdb1::2 dst=fd99::2",
		"src=192.0.2.2 dst=192.0.2.1 sport", "src=10.1.0.2 dst=192.0.2.2 sport=4000", "src=fdb1::2 dst=fd99::2 sport=4000")
	set := state.Set{state.Veth{Owner: a.Owner}, ruleset.Masquerade{Owner: a.Owner}}
	if err := set.Remove(statetest.Open(t, nil)); err != nil {
		t.Fatal(err)
	}
	left := connections(t)
	statetest.Shows(t, left, "src=10.1.0.3", "src=fdb1::3")
	statetest.Lacks(t, left, "src=10.1.0.2", "src=fdb1::2")
}

func connections(t *testing.T) string {
	t.Helper()
	var all string
	for _, family := range []string{"ipv4", "ipv6"} {
		out, err := exec.Command("conntrack", "-L", "-f", family).CombinedOutput()
		if err != nil {
			t.Fatalf("conntrack -L: %v\n%s", err, out)
		}
		all += string(out)
	}
	return all
}

func TestMasqueradeString(t *testing.T) {
	got := ruleset.Masquerade{Owner: statetest.Owner("a"), Link: "br1", Prefixes: statetest.Prefixes("10.1.0.2/24", "fdb1::2/64")}.String()
	want := "nft add element inet fairway masquerade_from4 { br1 . 10.1.0.2 : jump subnet_10.1.0.0/24 } && " +
		"nft add element inet fairway masquerade_from6 { br1 . fdb1::2 : jump subnet_fdb1__/64 }"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
