package sweep_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/bridging"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/state/sweep"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// attachAll builds one object of each kind that is an owner's, on bridge br0.
func attachAll(t *testing.T, o state.Owner, prefix string) state.Set {
	t.Helper()
	container := testnet.NewNS(t, o.Network+"."+o.ContainerID+"."+o.IfName)
	set := state.Set{
		state.Shared(bridging.Bridge{Name: "br0"}),
		state.Veth{Owner: o, MAC: o.MAC(), Bridge: "br0"},
		ruleset.SpoofCheck{Owner: o, MAC: o.MAC()},
		ruleset.Masquerade{Owner: o, Link: "br1", Prefixes: statetest.Prefixes(prefix)},
	}
	statetest.Apply(t, statetest.Open(t, container), set...)
	return set
}

func prune(t *testing.T, network string, valid ...state.Owner) {
	t.Helper()
	if err := sweep.Prune(statetest.Open(t, nil), network, valid); err != nil {
		t.Errorf("Prune %s: %v", network, err)
	}
}

// expectOwners compares the owners that have a link on the host, and those that have elements.
func expectOwners(t *testing.T, want ...state.Owner) {
	t.Helper()
	found, rules := testnet.Sh(t, "ip", "link"), testnet.Sh(t, "nft", "list", "ruleset")
	for _, o := range want {
		statetest.Shows(t, found, o.HostLink())
		statetest.Shows(t, rules, o.HostLink()+`" comment "`+o.Tag()+`"`, `comment "`+o.Tag()+`" : jump`)
	}
	if got := strings.Count(found, "master br0"); got != len(want) {
		t.Errorf("%d ports of br0, want %d:\n%s", got, len(want), found)
	}
	// An owner has two elements for its link and one for its address.
	if got := strings.Count(rules, `comment "fairway `); got != 3*len(want) {
		t.Errorf("%d elements, want %d:\n%s", got, 3*len(want), rules)
	}
}

func TestPrune(t *testing.T) {
	testnet.NewHost(t)
	a, a1, b := statetest.Owner("a"), statetest.Owner("a"), statetest.Owner("b")
	a1.IfName = "eth1"
	// Names of which one begins with the other, or has a space's neighbour in it.
	near, far := state.Owner{Network: "net2", ContainerID: "a", IfName: "eth0"}, state.Owner{Network: "ne", ContainerID: "t", IfName: "eth0"}
	for i, o := range []state.Owner{a, a1, b, near, far} {
		attachAll(t, o, []string{"10.1.0.2/24", "10.1.0.3/24", "10.1.0.4/24", "10.2.0.2/24", "10.3.0.2/24"}[i])
	}
	everyone := []state.Owner{a, a1, b, near, far}
	prune(t, "net", a, a1, b)
	expectOwners(t, everyone...)
	prune(t, "net", a, b)
	expectOwners(t, a, b, near, far)
	prune(t, "net")
	prune(t, "net")
	expectOwners(t, near, far)
	statetest.Shows(t, testnet.Sh(t, "nft", "list", "ruleset"), "subnet_10.2.0.0/24", "subnet_10.3.0.0/24")
	statetest.Lacks(t, testnet.Sh(t, "nft", "list", "ruleset"), "subnet_10.1.0.0/24")
	statetest.Shows(t, testnet.Sh(t, "ip", "link"), "br0") // what the owners share stays
	prune(t, "net2")
	prune(t, "ne")
	expectOwners(t)
}

// The valid owners are intact afterwards, and what an owner shares with others too.
func TestPruneLeavesTheValidIntact(t *testing.T) {
	testnet.NewHost(t)
	a, b := statetest.Owner("a"), statetest.Owner("b")
	set := attachAll(t, a, "10.1.0.2/24")
	attachAll(t, b, "10.1.0.3/24")
	isolation := ruleset.Isolation{Bridge: "br0", Link: "br0", Internal: true}
	statetest.Ensure(t, statetest.Open(t, nil), isolation, true)
	prune(t, "net", a)
	for _, o := range append(slices.Clone(set[2:]), isolation) {
		statetest.Verifies(t, nil, o)
	}
}

// Names that do not fit into a comment are hashed in it, and told apart all the same.
func TestPruneOfLongNames(t *testing.T) {
	testnet.NewHost(t)
	long := strings.Repeat("n", 100)
	a := state.Owner{Network: long + "a", ContainerID: strings.Repeat("c", 64), IfName: "eth0"}
	b := state.Owner{Network: long + "b", ContainerID: strings.Repeat("c", 64), IfName: "eth0"}
	attachAll(t, a, "10.1.0.2/24")
	attachAll(t, b, "10.1.0.3/24")
	prune(t, a.Network, a)
	expectOwners(t, a, b)
	prune(t, a.Network)
	expectOwners(t, b)
}

// An ADD that was killed after the request that makes the pair leaves a host end without an alias.
func TestPruneOfALinkWithoutAlias(t *testing.T) {
	testnet.NewHost(t)
	container := testnet.NewNS(t, "c")
	o := statetest.Owner("a")
	statetest.Apply(t, statetest.Open(t, container), state.Veth{Owner: o, MAC: o.MAC()})
	testnet.Sh(t, "ip", "link", "set", o.HostLink(), "alias", "")
	prune(t, "other")
	prune(t, "net", o)
	statetest.Shows(t, testnet.Sh(t, "ip", "link"), o.HostLink())
	prune(t, "net")
	statetest.Lacks(t, testnet.Sh(t, "ip", "link"), o.HostLink())
}

// Links of others stay, whatever they are called.
func TestPruneLeavesForeignLinks(t *testing.T) {
	testnet.NewHost(t)
	o := statetest.Owner("a")
	foreign := []string{"veth0123456789a", "veth1", o.HostLink()}
	for _, name := range foreign {
		testnet.Sh(t, "ip", "link", "add", name, "type", "bridge")
	}
	testnet.Sh(t, "ip", "link", "set", "veth1", "alias", o.Tag())
	prune(t, "net")
	statetest.Shows(t, testnet.Sh(t, "ip", "link"), foreign...)
}

// A bridge that has gone is not isolated any more: another of its name may be none of ours.
func TestPruneForgetsGoneBridges(t *testing.T) {
	testnet.NewHost(t)
	statetest.Apply(t, statetest.Open(t, nil), bridging.Bridge{Name: "br0"},
		ruleset.Isolation{Bridge: "br0", Link: "br0", Internal: true, Isolated: true}, ruleset.Isolation{Bridge: "gone", Link: "gone", Internal: true, Isolated: true})
	prune(t, "net")
	rules := testnet.Sh(t, "nft", "list", "ruleset")
	statetest.Shows(t, rules, `"br0" comment`)
	statetest.Lacks(t, rules, "gone")
}

// Other tables, and what others put into ours, are not touched.
func TestPruneLeavesForeignRules(t *testing.T) {
	testnet.NewHost(t)
	o := statetest.Owner("a")
	statetest.Ensure(t, statetest.Open(t, nil), ruleset.Masquerade{Owner: o, Link: "br1", Prefixes: statetest.Prefixes("10.1.0.2/24")}, true)
	testnet.Sh(t, "nft", "add table ip other; add chain ip other subnet_1; add set ip other s { type ipv4_addr; }; "+
		"add element ip other s { 10.1.0.2 comment \""+o.Tag()+"\" }; "+
		"add element inet fairway masquerade_from4 { br1 . 10.9.0.9 comment \"by hand\" : accept }; add chain inet fairway mine")
	prune(t, "net")
	rules := testnet.Sh(t, "nft", "list", "ruleset")
	statetest.Shows(t, rules, "chain subnet_1", "10.1.0.2 comment", `10.9.0.9 comment "by hand"`, "chain mine")
	statetest.Lacks(t, rules, "subnet_10.1.0.0/24")
}

// Prune of a large network fits into sockets and messages.
func TestPruneOfMany(t *testing.T) {
	testnet.NewHost(t)
	k := statetest.Open(t, nil)
	const many = 2500
	for i := range many {
		o := statetest.Owner(fmt.Sprintf("%064d", i)) // as long as a runtime's
		addr := fmt.Sprintf("10.1.%d.%d/16", i/250, i%250)
		if _, err := (ruleset.Masquerade{Owner: o, Link: "br1", Prefixes: statetest.Prefixes(addr)}).Ensure(k); err != nil {
			t.Fatal(err)
		}
	}
	keep := statetest.Owner("keep")
	statetest.Ensure(t, k, ruleset.Masquerade{Owner: keep, Link: "br1", Prefixes: statetest.Prefixes("10.2.0.1/16")}, true)
	prune(t, "net", keep)
	if got := strings.Count(testnet.Sh(t, "nft", "list", "map", "inet", "fairway", "masquerade_from4"), `comment "fairway`); got != 1 {
		t.Errorf("%d elements are left, want 1", got)
	}
}
