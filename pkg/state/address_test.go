package state_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/bridging"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// attached gives a test a host with a bridge, and a container with a veth on it.
func attached(t *testing.T, name string) *testnet.Namespace {
	t.Helper()
	return attachedWith(t, name, state.LinkIPv6{})
}

func attachedWith(t *testing.T, name string, ipv6 state.LinkIPv6) *testnet.Namespace {
	t.Helper()
	container := testnet.NewNS(t, name)
	statetest.Apply(t, statetest.Open(t, container), bridging.Bridge{Name: "br0"},
		state.Veth{Owner: statetest.Owner(name), MAC: statetest.Owner(name).MAC(), Bridge: "br0", IPv6: ipv6})
	return container
}

func TestAddress(t *testing.T) {
	for _, text := range []string{"10.0.0.2/24", "10.0.0.2/32", "fd00::2/64"} {
		t.Run(text, func(t *testing.T) {
			testnet.NewHost(t)
			container := attached(t, "c")
			a := statetest.Address(text)
			statetest.Drifts(t, container, a, "eth0 has no address "+text)
			statetest.Ensure(t, statetest.Open(t, container), a, true)
			statetest.Verifies(t, container, a)
			statetest.Lacks(t, container.Sh(t, "ip", "addr"), "tentative global")
			statetest.Ensure(t, statetest.Open(t, container), a, false)
			statetest.Removes(t, container, a)
			statetest.Verifies(t, container, a) // it goes with its link
			container.Sh(t, "ip", "addr", "del", text, "dev", "eth0")
			statetest.Drifts(t, container, a, "eth0 has no address "+text)
		})
	}
}

// Without duplicate address detection, an address can be used at once.
func TestAddressUsableAtOnce(t *testing.T) {
	testnet.NewHost(t)
	container := attached(t, "c")
	statetest.Ensure(t, statetest.Open(t, container), statetest.Address("fd00::2/64"), true)
	statetest.Shows(t, container.Sh(t, "ip", "-6", "addr", "show", "dev", "eth0"), "fd00::2/64 scope global nodad")
	statetest.Lacks(t, container.Sh(t, "ip", "-6", "addr", "show", "dev", "eth0", "scope", "global"), "tentative")
}

// Runtimes turn IPv6 off in a container unless told otherwise; an IPv6 lease tells otherwise.
func TestAddressEnablesIPv6(t *testing.T) {
	testnet.NewHost(t)
	container := testnet.NewNS(t, "c")
	container.Sh(t, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
	statetest.Apply(t, statetest.Open(t, container), state.Veth{Owner: statetest.Owner("c"), MAC: statetest.Owner("c").MAC()})
	statetest.Ensure(t, statetest.Open(t, container), statetest.Address("fd00::2/64"), true)
	statetest.Verifies(t, container, statetest.Address("fd00::2/64"))
}

func TestAddressOfMissingLink(t *testing.T) {
	k, _ := statetest.NewPair(t)
	if _, err := statetest.Address("10.0.0.2/24").Ensure(k); err == nil || !strings.Contains(err.Error(), "eth0") {
		t.Errorf("error %v names no link", err)
	}
	if err := statetest.Address("10.0.0.2/24").Verify(k); err != nil {
		t.Errorf("Verify: %v, which is for the link to say", err)
	}
}

func TestAddressDAD(t *testing.T) {
	testnet.NewHost(t)
	container := attachedWith(t, "c", state.LinkIPv6{DAD: true})
	a := statetest.Address("fd00::2/64")
	a.DAD = true
	begin := time.Now()
	statetest.Ensure(t, statetest.Open(t, container), a, true)
	if took := time.Since(begin); took < 100*time.Millisecond {
		t.Errorf("detection took %s: less than the time for an answer", took)
	}
	statetest.Shows(t, container.Sh(t, "ip", "-6", "addr"), "fd00::2/64 scope global")
	statetest.Lacks(t, container.Sh(t, "ip", "-6", "addr", "show", "scope", "global"), "tentative", "dadfailed")
}

// An address that another machine has must fail the ADD.
func TestAddressDADFindsDuplicate(t *testing.T) {
	testnet.NewHost(t)
	holder, container := attached(t, "h"), attachedWith(t, "c", state.LinkIPv6{DAD: true})
	statetest.Ensure(t, statetest.Open(t, holder), statetest.Address("fd00::2/64"), true)
	a := statetest.Address("fd00::2/64")
	a.DAD = true
	_, err := a.Ensure(statetest.Open(t, container))
	if err == nil || !strings.Contains(err.Error(), "another machine on the network has this address") {
		t.Errorf("error %v names no duplicate", err)
	}
}

func TestAddresses(t *testing.T) {
	k, container := statetest.NewPair(t)
	container.Sh(t, "ip", "link", "set", "lo", "up")
	got, err := state.Addresses(k, state.Container, "lo")
	if err != nil {
		t.Fatal(err)
	}
	want := statetest.Prefixes("127.0.0.1/8", "::1/128")
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAddressString(t *testing.T) {
	dad := statetest.Address("fd00::2/64")
	dad.DAD = true
	for want, a := range map[string]state.Address{
		"ip addr add 10.0.0.2/24 dev eth0":      statetest.Address("10.0.0.2/24"),
		"ip addr add fd00::2/64 dev eth0 nodad": statetest.Address("fd00::2/64"),
		"ip addr add fd00::2/64 dev eth0":       dad,
	} {
		if got := a.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
