package lan_test

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/lan"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// errLender is an error of an IPAM plugin.
var errLender = errors.New("no lease")

// lender lends 10.1.0.200 and fd01::200, and counts.
type lender struct {
	lent, back int
	err        error
}

func (l *lender) Lend() ([]netip.Addr, error) {
	l.lent++
	return addrs("10.1.0.200", "fd01::200"), l.err
}

func (l *lender) GiveBack() error {
	l.back++
	return l.err
}

func addrs(texts ...string) []netip.Addr {
	var all []netip.Addr
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

// access is the host's way to a container with addresses.
func access(l *lender, container string, addresses ...string) lan.HostAccess {
	return lan.HostAccess{Owner: statetest.Owner(container), Master: lan.Master{Name: "lan0"}, Addresses: addrs(addresses...), Lender: l}
}

func TestHostAccess(t *testing.T) {
	host := testnet.NewHost(t)
	testnet.Sh(t, "ip", "link", "add", "lan0", "address", "02:00:00:00:00:0a", "type", "veth", "peer", "name", "wire")
	testnet.Sh(t, "ip", "link", "set", "wire", "up")
	testnet.Sh(t, "ip", "link", "set", "lan0", "up")
	testnet.Sh(t, "ip", "addr", "add", "10.1.0.10/24", "dev", "lan0")
	awaitCarriers(t, 2)
	before := testnet.Sh(t, "ip", "-brief", "link")
	container := testnet.NewNS(t, "c")
	l := new(lender)
	a := access(l, "a", "10.1.0.2", "fd01::2")
	statetest.Apply(t, statetest.Open(t, container), macvlan("a"), statetest.Address("10.1.0.2/24"), statetest.Address("fd01::2/64"))
	// The kernel passes no frame between a master and its macvlans.
	statetest.Reaches(t, host, container, statetest.MustAddr("10.1.0.2"), false)

	statetest.Ensure(t, statetest.Open(t, container), a, true)
	statetest.Verifies(t, container, a)
	shim := lan.HostOwner("net").IfName
	for _, address := range []string{"10.1.0.2", "fd01::2"} {
		statetest.Reaches(t, host, container, statetest.MustAddr(address), true)
	}
	for _, address := range []string{"10.1.0.200", "fd01::200", "10.1.0.10"} {
		statetest.Reaches(t, container, host, statetest.MustAddr(address), true)
	}
	statetest.Shows(t, testnet.Sh(t, "ip", "addr", "show", shim), "10.1.0.200/32", "fd01::200/128", ",UP")
	statetest.Shows(t, testnet.Sh(t, "ip", "route"), "10.1.0.2 dev "+shim)

	b := access(l, "b", "10.1.0.3")
	statetest.Ensure(t, statetest.Open(t, nil), b, true)
	if l.lent != 1 {
		t.Errorf("addresses lent %d times, want once", l.lent)
	}
	statetest.Removes(t, nil, a)
	statetest.Lacks(t, testnet.Sh(t, "ip", "route"), "10.1.0.2 ")
	statetest.Lacks(t, testnet.Sh(t, "ip", "-6", "route"), "fd01::2 ")
	statetest.Shows(t, testnet.Sh(t, "ip", "route"), "10.1.0.3 dev "+shim)
	statetest.Verifies(t, nil, b)
	if l.back != 0 {
		t.Error("the shim's addresses were given back while it is used")
	}
	statetest.Removes(t, nil, b)
	if l.back != 1 {
		t.Errorf("the shim's addresses were given back %d times, want once", l.back)
	}
	if diff := cmp.Diff(before, testnet.Sh(t, "ip", "-brief", "link")); diff != "" {
		t.Errorf("links of the host (-before +after):\n%s", diff)
	}
}

// A machine on the physical network hears of the host's addresses by the master's MAC alone.
func TestHostAccessAnswersContainersOnly(t *testing.T) {
	k, _ := newCable(t)
	machine := testnet.NewNS(t, "machine")
	testnet.Sh(t, "ip", "link", "set", "wire", "netns", machine.Path)
	machine.Sh(t, "ip", "link", "set", "wire", "up")
	machine.Sh(t, "ip", "addr", "add", "10.1.0.250/24", "dev", "wire")
	testnet.Sh(t, "ip", "addr", "add", "10.1.0.10/24", "dev", "lan0")
	statetest.Apply(t, k, access(new(lender), "a", "10.1.0.2"))
	for _, address := range []string{"10.1.0.10", "10.1.0.200"} {
		out := machine.Sh(t, "busybox", "arping", "-c", "2", "-I", "wire", address)
		statetest.Shows(t, strings.ToLower(out), "02:00:00:00:00:0a")
		if strings.Count(strings.ToLower(out), "reply from") != strings.Count(strings.ToLower(out), "[02:00:00:00:00:0a]") {
			t.Errorf("somebody else answers for %s:\n%s", address, out)
		}
	}
}

func TestHostAccessDrifts(t *testing.T) {
	shim := lan.HostOwner("net").IfName
	for _, test := range []struct{ name, change, drift string }{
		{"link", "ip link del " + shim, "link " + shim + " is gone from the host's namespace"},
		{"down", "ip link set " + shim + " down", shim + " is down"},
		{"route", "ip route del 10.1.0.2 dev " + shim, "no route to 10.1.0.2/32 through " + shim},
		{"record", "rm -r /run/fairway/claims", "the record of the host's way to container a is gone from /run/fairway/claims"},
	} {
		t.Run(test.name, func(t *testing.T) {
			k, _ := newCable(t)
			a := access(new(lender), "a", "10.1.0.2")
			statetest.Apply(t, k, a)
			statetest.Verifies(t, nil, a)
			words := strings.Fields(test.change)
			testnet.Sh(t, words[0], words[1:]...)
			statetest.Drifts(t, nil, a, test.drift)
		})
	}
}

// An ADD that was killed half-way is completed by the next one.
func TestHostAccessCompletes(t *testing.T) {
	k, _ := newCable(t)
	shim := lan.HostOwner("net").IfName
	testnet.Sh(t, "ip", "link", "add", "link", "lan0", "name", shim, "group", "4003", "type", "macvlan", "mode", "bridge")
	l := new(lender)
	a := access(l, "a", "10.1.0.2")
	statetest.Apply(t, k, a)
	statetest.Verifies(t, nil, a)
	if l.lent != 1 {
		t.Errorf("addresses lent %d times, want once", l.lent)
	}
	statetest.Removes(t, nil, a)
	statetest.Lacks(t, testnet.Sh(t, "ip", "link"), shim)
}

// What fails leaves nothing, and takes nothing from others.
func TestHostAccessFails(t *testing.T) {
	k, _ := newCable(t)
	l := &lender{err: errLender}
	before := testnet.Sh(t, "ip", "-brief", "link")
	_, err := access(l, "a", "10.1.0.2").Ensure(k)
	statetest.Fails(t, err, errLender, "")
	if diff := cmp.Diff(before, testnet.Sh(t, "ip", "-brief", "link")); diff != "" {
		t.Errorf("links of the host (-before +after):\n%s", diff)
	}

	l.err = nil
	first := access(l, "a", "10.1.0.2")
	statetest.Apply(t, k, first)
	testnet.Sh(t, "ip", "link", "add", "lan1", "up", "type", "bridge")
	second := access(l, "b", "10.1.0.3")
	second.Master.Name = "lan1"
	_, err = second.Ensure(statetest.Open(t, nil))
	statetest.Fails(t, err, state.ErrConflict, "does not lie on master lan1: remove the containers on the other master first")
	statetest.Verifies(t, nil, first)
	statetest.Removes(t, nil, second)
	statetest.Verifies(t, nil, first)
}

// Somebody else may have got the address of a container whose DEL never came: that one's route stays.
func TestHostAccessOfAnAddressGivenAgain(t *testing.T) {
	k, _ := newCable(t)
	l := new(lender)
	lost, holder := access(l, "lost", "10.1.0.2"), access(l, "holder", "10.1.0.2")
	statetest.Apply(t, k, lost)
	statetest.Apply(t, k, holder)
	statetest.Removes(t, nil, lost)
	statetest.Verifies(t, nil, holder)
}

func TestHostAccessOfNoAddress(t *testing.T) {
	k, _ := newCable(t)
	a := access(new(lender), "a")
	statetest.Ensure(t, k, a, false)
	statetest.Verifies(t, nil, a)
	statetest.Removes(t, nil, a)
	if got := a.String(); got != "" {
		t.Errorf("String of nothing: %q", got)
	}
}

func TestPruneClaims(t *testing.T) {
	k, gone := newCable(t)
	kept, left := testnet.NewNS(t, "kept"), testnet.NewNS(t, "left")
	l := new(lender)
	statetest.Apply(t, statetest.Open(t, kept), macvlan("kept"), access(l, "kept", "10.1.0.2"))
	statetest.Apply(t, statetest.Open(t, left), macvlan("left"), access(l, "left", "10.1.0.3"))
	statetest.Apply(t, k, macvlan("gone"), access(l, "gone", "10.1.0.4"))
	foreign := access(new(lender), "left", "10.1.0.5")
	foreign.Owner.Network = "other"
	statetest.Apply(t, k, foreign)
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	prune := func(valid ...state.Owner) {
		t.Helper()
		if err := lan.PruneClaims(statetest.Open(t, nil), "net", valid, l); err != nil {
			t.Errorf("PruneClaims: %v", err)
		}
	}
	prune(statetest.Owner("kept"))
	statetest.Verifies(t, kept, macvlan("kept"))
	statetest.Verifies(t, kept, access(l, "kept", "10.1.0.2"))
	statetest.Verifies(t, nil, foreign)
	statetest.Lacks(t, left.Sh(t, "ip", "link"), "eth0")
	statetest.Lacks(t, testnet.Sh(t, "ip", "route"), "10.1.0.3", "10.1.0.4")
	if l.back != 0 {
		t.Error("the shim's addresses were given back while it is used")
	}
	prune()
	prune()
	statetest.Lacks(t, kept.Sh(t, "ip", "link"), "eth0")
	statetest.Lacks(t, testnet.Sh(t, "ip", "link"), lan.HostOwner("net").IfName)
	if l.back == 0 {
		t.Error("the shim's addresses were not given back")
	}
	statetest.Verifies(t, nil, foreign)
}

// What cannot be given back stays claimed, so that the next GC comes back to it.
func TestPruneClaimsTriesAgain(t *testing.T) {
	k, _ := newCable(t)
	l := new(lender)
	statetest.Apply(t, k, access(l, "a", "10.1.0.2"))
	l.err = errLender
	if err := lan.PruneClaims(statetest.Open(t, nil), "net", nil, l); !errors.Is(err, errLender) {
		t.Errorf("PruneClaims: %v, want %v", err, errLender)
	}
	l.err = nil
	if err := lan.PruneClaims(statetest.Open(t, nil), "net", nil, l); err != nil || l.back < 2 {
		t.Errorf("PruneClaims: %v, addresses given back %d times", err, l.back)
	}
}

// A runtime may name no container any more and keep its namespace.
func TestMacvlanRemoveByClaim(t *testing.T) {
	k, container := newCable(t)
	statetest.Apply(t, k, macvlan("a"))
	statetest.Removes(t, nil, macvlan("a"))
	statetest.Lacks(t, container.Sh(t, "ip", "link"), "eth0")
}

// TestHostAccessComesBack: whatever takes the shim away, or its routes, takes the way to every container; the next attachment of one
// container, and the check of any, makes all of them anew, also of the other family.
func TestHostAccessComesBack(t *testing.T) {
	shim := lan.HostOwner("net").IfName
	for what, lose := range map[string][]string{
		"the shim":             {"ip", "link", "del", shim},
		"the shim is down":     {"ip", "link", "set", shim, "down"},
		"down and up":          {"sh", "-c", "ip link set " + shim + " down; ip link set " + shim + " up"},
		"its routes":           {"ip", "route", "flush", "dev", shim},
		"the shim, and claims": {"sh", "-c", "ip link del " + shim + "; rm -rf /run/fairway"},
	} {
		for _, by := range []string{"Ensure", "Repair"} {
			t.Run(what+" "+by, func(t *testing.T) {
				k, _ := newCable(t)
				l := new(lender)
				all := []lan.HostAccess{access(l, "a", "10.1.0.2"), access(l, "b", "10.1.0.3", "fd01::3"), access(l, "c", "10.1.0.4")}
				for _, a := range all {
					statetest.Apply(t, k, a)
				}
				testnet.Sh(t, lose[0], lose[1:]...)
				if by == "Ensure" {
					if strings.Contains(what, "routes") || strings.Contains(what, "down and up") || strings.Contains(what, "claims") {
						return // an attachment looks at what it needs, and does not list the others'
					}
					statetest.Apply(t, statetest.Open(t, nil), access(l, "d", "10.1.0.5"))
				} else {
					for _, a := range all {
						if err := a.Repair(statetest.Open(t, nil)); err != nil {
							t.Errorf("Repair: %v", err)
						}
						if !strings.Contains(what, "claims") {
							break // the first has brought back the others'
						}
					}
				}
				for _, a := range all {
					statetest.Verifies(t, nil, a)
				}
			})
		}
	}
}

// TestHostAccessOfClones: machines that were cloned have one machine ID.
func TestHostAccessOfClones(t *testing.T) {
	var macs []string
	for _, master := range []string{"02:00:00:00:00:0a", "02:00:00:00:00:0b"} {
		t.Run(master, func(t *testing.T) {
			k, _ := newCable(t)
			testnet.Sh(t, "ip", "link", "set", "lan0", "address", master)
			statetest.Apply(t, k, access(new(lender), "a", "10.1.0.2"))
			macs = append(macs, strings.Fields(testnet.Sh(t, "ip", "-br", "link", "show", lan.HostOwner("net").IfName))[2])
		})
	}
	if macs[0] == macs[1] {
		t.Errorf("both have %s", macs[0])
	}
}

// TestPruneClaimsWithoutClaims: somebody has deleted the claims; with no container left, the shim and its addresses go.
func TestPruneClaimsWithoutClaims(t *testing.T) {
	k, _ := newCable(t)
	l := new(lender)
	statetest.Apply(t, k, access(l, "a", "10.1.0.2"))
	if err := os.RemoveAll("/run/fairway"); err != nil {
		t.Fatal(err)
	}
	prune := func(valid ...state.Owner) {
		t.Helper()
		if err := lan.PruneClaims(statetest.Open(t, nil), "net", valid, l); err != nil {
			t.Error(err)
		}
	}
	prune(statetest.Owner("a"))
	statetest.Shows(t, testnet.Sh(t, "ip", "link"), lan.HostOwner("net").IfName)
	prune()
	statetest.Lacks(t, testnet.Sh(t, "ip", "link"), lan.HostOwner("net").IfName)
	if l.back == 0 {
		t.Error("the addresses were not given back")
	}
}
