package ruleset_test

import (
	"bytes"
	"net"
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
	masquerade := ruleset.Masquerade{Owner: statetest.Owner("a"), Prefixes: statetest.Prefixes("10.1.0.2/24", "fdb1::2/64")}
	statetest.Drifts(t, nil, masquerade, "chain postrouting")
	statetest.Ensure(t, statetest.Open(t, nil), masquerade, true)
	statetest.Verifies(t, nil, masquerade)
	statetest.Ensure(t, statetest.Open(t, nil), masquerade, true)
	statetest.Verifies(t, nil, masquerade)

	testnet.Sh(t, "nft", "delete", "element", "inet", "fairway", "masquerade4", "{ 10.1.0.2 }")
	statetest.Drifts(t, nil, masquerade, `masquerade4 has no element of "fairway net a eth0"`)
	statetest.Ensure(t, statetest.Open(t, nil), masquerade, true)
	testnet.Sh(t, "nft", "flush", "chain", "inet", "fairway", "subnet_10.1.0.0/24")
	statetest.Drifts(t, nil, masquerade, "chain subnet_10.1.0.0/24 of nftables table inet fairway has 0 rules instead of 3")

	// DEL knows no addresses.
	statetest.Removes(t, nil, ruleset.Masquerade{Owner: statetest.Owner("a")})
	statetest.Lacks(t, testnet.Sh(t, "nft", "list", "ruleset"), "10.1.0.2", "fairway net")
	statetest.Ensure(t, statetest.Open(t, nil), ruleset.Masquerade{Owner: statetest.Owner("a")}, false) // no lease, nothing to do
}

// The ruleset as nft prints it, which must be able to.
func TestMasqueradeRules(t *testing.T) {
	testnet.NewHost(t)
	statetest.Ensure(t, statetest.Open(t, nil), ruleset.Masquerade{Owner: statetest.Owner("a"), Prefixes: statetest.Prefixes("10.1.0.2/24", "fdb1::2/64")}, true)
	want := `table inet fairway {
	map masquerade4 {
		type ipv4_addr : verdict
		elements = { 10.1.0.2 comment "fairway net a eth0" : jump subnet_10.1.0.0/24 }
	}

	map masquerade6 {
		type ipv6_addr : verdict
		elements = { fdb1::2 comment "fairway net a eth0" : jump subnet_fdb1__/64 }
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr vmap @masquerade4
		ip6 saddr vmap @masquerade6
	}

	chain subnet_10.1.0.0/24 {
		ip daddr 10.1.0.0/24 return
		ip daddr 224.0.0.0/4 return
		masquerade
	}

	chain subnet_fdb1__/64 {
		ip6 daddr fdb1::/64 return
		ip6 daddr ff00::/8 return
		masquerade
	}
}`
	if got := testnet.Sh(t, "nft", "list", "ruleset"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// What nft prints can be read back: an administrator saves and restores rulesets so.
	testnet.Sh(t, "sh", "-c", "nft list ruleset > $0/rules && nft flush ruleset && nft -f $0/rules", t.TempDir())
	statetest.Verifies(t, nil, ruleset.Masquerade{Owner: statetest.Owner("a"), Prefixes: statetest.Prefixes("10.1.0.2/24", "fdb1::2/64")})
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
	// The host has the container's address itself, so that the test needs no multicast router.
	testnet.Sh(t, "ip", "addr", "add", "10.1.0.2/24", "dev", "up0")
	testnet.Sh(t, "ip", "route", "add", "239.0.0.0/8", "dev", "up0")
	statetest.Ensure(t, statetest.Open(t, nil), ruleset.Masquerade{Owner: statetest.Owner("a"), Prefixes: statetest.Prefixes("10.1.0.2/24")}, true)
	heard := outside.Capture(t, "eth0")
	for _, test := range []struct{ to, source string }{{"239.1.2.3", "10.1.0.2"}, {"192.0.2.2", "192.0.2.1"}} {
		client, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IP{10, 1, 0, 2}}, &net.UDPAddr{IP: net.ParseIP(test.to), Port: 4000})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if _, err := client.Write([]byte("ahoy")); err != nil {
			t.Fatal(err)
		}
		source, to := netip.MustParseAddr(test.source).AsSlice(), netip.MustParseAddr(test.to).AsSlice()
		isFrom := func(f []byte) bool {
			return len(f) >= 34 && f[12] == 0x08 && f[13] == 0 && bytes.Equal(f[26:30], source) && bytes.Equal(f[30:34], to)
		}
		if !heard.Await(t, statetest.Patience, isFrom) {
			t.Errorf("no packet from %s to %s", test.source, test.to)
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
			a, b := ruleset.Masquerade{Owner: statetest.Owner("a"), Prefixes: test.before}, ruleset.Masquerade{Owner: statetest.Owner("b"), Prefixes: test.after}
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

// The same owner may come again with its address in a subnet of another length.
func TestMasqueradeOfChangedSubnet(t *testing.T) {
	testnet.NewHost(t)
	before, after := ruleset.Masquerade{Owner: statetest.Owner("a"), Prefixes: statetest.Prefixes("10.1.0.2/16")}, ruleset.Masquerade{Owner: statetest.Owner("a"), Prefixes: statetest.Prefixes("10.1.0.2/24")}
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
	got := ruleset.Masquerade{Owner: statetest.Owner("a"), Prefixes: statetest.Prefixes("10.1.0.2/24", "fdb1::2/64")}.String()
	want := "nft add element inet fairway masquerade4 { 10.1.0.2 : jump subnet_10.1.0.0/24 } && " +
		"nft add element inet fairway masquerade6 { fdb1::2 : jump subnet_fdb1__/64 }"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
