package ruleset_test

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// everything is an object of each kind, with whatever it can declare.
func everything() map[string]state.Object {
	return map[string]state.Object{
		"isolation":  ruleset.Isolation{Bridge: "br1", Link: "br1", Internal: true, Isolated: true, Separate: true},
		"plain":      ruleset.Isolation{Bridge: "br2", Link: "br2"},
		"masquerade": ruleset.Masquerade{Owner: statetest.Owner("a"), Link: "br1", Prefixes: statetest.Prefixes("10.1.0.2/24", "fdb1::2/64")},
		"spoof":      ruleset.SpoofCheck{Owner: statetest.Owner("a"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}},
		"overlay":    ruleset.OverlayIsolation{Network: "wide", Internal: true},
		"filter": ruleset.SourceFilter{Network: "wide", VNI: 42, Port: 4789, Sources: []netip.Addr{
			netip.MustParseAddr("192.0.2.12"), netip.MustParseAddr("2001:db8::12"),
		}},
		"encryption": ruleset.Encryption{Network: "secret", VNI: 43, Port: 4789, Subnets: statetest.Prefixes("10.43.0.0/16", "fd43::/48")},
	}
}

var (
	chainLine = regexp.MustCompile(`^\tchain (\S+) \{`)
	setLine   = regexp.MustCompile(`^\t(set|map) (\S+) \{`)
	tableLine = regexp.MustCompile(`^table (\S+ \S+) \{`)
)

// damages are the ways to lose or change a part of a ruleset, for each chain and set that it has.
func damages(listing string) (commands []string) {
	commands = append(commands, "nft flush ruleset")
	table := ""
	for line := range strings.Lines(listing) {
		if m := tableLine.FindStringSubmatch(line); m != nil {
			table = m[1]
			commands = append(commands, "nft delete table "+table, "nft flush table "+table)
		}
		if m := setLine.FindStringSubmatch(line); m != nil {
			commands = append(commands, "nft flush "+m[1]+" "+table+" "+m[2])
		}
		m := chainLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		chain := table + " " + m[1]
		handle := "$(nft -a list chain " + chain + " | grep 'comment' | tail -1 | sed 's/.*handle //')"
		commands = append(commands,
			"nft flush chain "+chain,
			"nft delete rule "+chain+" handle "+handle,
			"nft replace rule "+chain+" handle "+handle+" counter",
			"nft insert rule "+chain+" accept",
		)
	}
	return commands
}

// TestDamage: whatever of the rules is lost, replaced or added, CHECK says so where it matters to an object, and the object's
// next ADD leaves the ruleset as one made afresh. One that does not notice has all that it needs.
func TestDamage(t *testing.T) {
	for name, object := range everything() {
		t.Run(name, func(t *testing.T) {
			testnet.NewHost(t)
			ensure := func() {
				t.Helper()
				if _, err := object.Ensure(statetest.Open(t, nil)); err != nil {
					t.Fatal(err)
				}
			}
			ensure()
			fresh := testnet.Sh(t, "nft", "list", "ruleset")
			for _, damage := range damages(fresh) {
				testnet.Sh(t, "sh", "-c", damage)
				noticed := object.Verify(statetest.Open(t, nil)) != nil
				ensure()
				statetest.Verifies(t, nil, object)
				if diff := cmp.Diff(lines(fresh), lines(testnet.Sh(t, "nft", "list", "ruleset"))); noticed && diff != "" {
					t.Errorf("%s, then ADD (-fresh +now):\n%s", damage, diff)
				}
				testnet.Sh(t, "nft", "flush", "ruleset")
				ensure()
			}
		})
	}
}

// TestFlushedMeanwhile: `nft flush ruleset` between any two steps of an ADD is outlived.
func TestFlushedMeanwhile(t *testing.T) {
	for name, object := range everything() {
		t.Run(name, func(t *testing.T) { statetest.OutlivesFlush(t, testnet.NewHost(t), object) })
	}
}

// lines counts each line: chains are listed as they were made, and what was made again is listed last.
func lines(listing string) map[string]int {
	count := make(map[string]int)
	for line := range strings.Lines(listing) {
		count[strings.TrimSpace(line)]++
	}
	return count
}

// TestDamageNoticed: every chain in which an object has an effect is looked at.
func TestDamageNoticed(t *testing.T) {
	chains := map[string][]string{
		"isolation": {"inet fairway forward", "inet fairway icc"}, "plain": {"inet fairway forward"},
		"masquerade": {"inet fairway postrouting", "inet fairway subnet_10.1.0.0/24", "inet fairway subnet_fdb1__/64"},
		"spoof":      {"bridge fairway prerouting"},
		"overlay":    {"inet fairway forward", "inet fairway overlay_source"},
		"filter":     {"inet fairway forward", "inet fairway vxlan_input", "inet fairway vxlan_source", "inet fairway vxlan_unreadable"},
	}
	for name, object := range everything() {
		t.Run(name, func(t *testing.T) {
			testnet.NewHost(t)
			for _, chain := range chains[name] {
				if _, err := object.Ensure(statetest.Open(t, nil)); err != nil {
					t.Fatal(err)
				}
				testnet.Sh(t, "sh", "-c", "nft flush chain "+chain)
				statetest.Drifts(t, nil, object, "has not the rules of this version")
			}
		})
	}
}

// An earlier release's table: what containers and networks had there keeps its effect, and its rules go.
const earlier = `
table inet fairway {
	map masquerade4 { type ipv4_addr : verdict; elements = { 10.1.0.2 comment "fairway net g1-2 eth0" : jump subnet_10.1.0.0/24,
		10.9.0.2 comment "fairway net gone eth0" : jump subnet_10.1.0.0/24 }; }
	map masquerade6 { type ipv6_addr : verdict; }
	set vxlan { type inet_service . mark; elements = { 4789 . 0x002a0000 comment "fairway-overlay wide" }; }
	set vxlan_peers4 { type inet_service . mark . ipv4_addr; elements = { 4789 . 0x002a0000 . 192.0.2.12 comment "fairway-overlay wide" }; }
	set internal { type ifname; elements = { "br1" comment "fairway-bridge br1" }; }
	set within { type ifname . ifname; elements = { "br1" . "br1" comment "fairway-bridge br1" }; }
	chain postrouting { type nat hook postrouting priority srcnat; ip saddr vmap @masquerade4; ip6 saddr vmap @masquerade6; }
	chain subnet_10.1.0.0/24 { ip daddr 10.1.0.0/24 return; masquerade; }
	chain forward { type filter hook forward priority filter; iifgroup 4001 drop; }
	chain overlay_forward { type filter hook forward priority filter; drop; }
	chain mine { accept; }
	set mine { type ipv4_addr; }
}`

func TestUpgrade(t *testing.T) {
	testnet.NewHost(t)
	a := statetest.NewGuest(t, 1, 2)
	testnet.Sh(t, "nft", toHost(earlier))
	// The first ADD is somebody else's.
	statetest.Ensure(t, statetest.Open(t, nil), ruleset.Isolation{Bridge: "br2", Link: "br2"}, true)
	now := testnet.Sh(t, "nft", "list", "ruleset")
	statetest.Shows(t, now, `"br1" . 10.1.0.2 comment "fairway net g1-2 eth0" : jump subnet_10.1.0.0/24`,
		`4789 . 0x2a comment "fairway-overlay wide"`, `4789 . 0x2a . 192.0.2.12 comment "fairway-overlay wide"`,
		`"br1" comment "fairway-bridge br1 of an earlier release"`, "chain mine", "set mine")
	statetest.Lacks(t, now, "masquerade4", "set vxlan", "overlay_forward", "iifgroup 4001", "gone")
	statetest.Verifies(t, nil, ruleset.SourceFilter{Network: "wide", VNI: 42, Port: 4789, Sources: []netip.Addr{netip.MustParseAddr("192.0.2.12")}})

	// What the earlier release declared of the bridge is not what there is to be now.
	statetest.Ensure(t, statetest.Open(t, nil), ruleset.Isolation{Bridge: "br1", Link: "br1"}, true)
	statetest.Verifies(t, nil, ruleset.Isolation{Bridge: "br1", Link: "br1"})
	statetest.Ensure(t, statetest.Open(t, nil), a.Masquerade(), true)
	statetest.Verifies(t, nil, a.Masquerade())
}

// TestBuiltBySomebodyElse: rules without elements, as somebody leaves who is about to add his or was killed, are no earlier release's.
func TestBuiltBySomebodyElse(t *testing.T) {
	testnet.NewHost(t)
	testnet.Sh(t, "ip", "link", "add", "br1", "group", fmt.Sprint(state.BridgeGroup), "type", "bridge")
	plain := ruleset.Isolation{Bridge: "br2", Link: "br2"}
	statetest.Ensure(t, statetest.Open(t, nil), plain, true)
	fresh := testnet.Sh(t, "nft", "list", "ruleset")
	for _, damage := range damages(fresh) {
		for _, empty := range []string{"nft flush set inet fairway bridges; nft flush set inet fairway within", "nft flush set inet fairway bridges"} {
			testnet.Sh(t, "sh", "-c", damage+"; "+empty+" || true")
			statetest.Ensure(t, statetest.Open(t, nil), ruleset.Isolation{Bridge: "br2", Link: "br2"}, true)
			statetest.Lacks(t, testnet.Sh(t, "nft", "list", "ruleset"), "br1", "earlier")
		}
	}
}

// toHost is a ruleset as one argument of nft.
func toHost(rules string) string { return fmt.Sprintln(rules) }
