package state_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// attached gives a test a host with a bridge, and a container with a veth on it.
func attached(t *testing.T, name string) *testnet.Namespace {
	t.Helper()
	container := testnet.NewNS(t, name)
	apply(t, open(t, container), state.Bridge{Name: "br0"}, state.Veth{Owner: owner(name), MAC: owner(name).MAC(), Bridge: "br0"})
	return container
}

func address(text string) state.Address {
	return state.Address{In: state.Container, Link: "eth0", Prefix: netip.MustParsePrefix(text)}
}

func TestAddress(t *testing.T) {
	for _, text := range []string{"10.0.0.2/24", "10.0.0.2/32", "fd00::2/64"} {
		t.Run(text, func(t *testing.T) {
			testnet.NewHost(t)
			container := attached(t, "c")
			a := address(text)
			drifts(t, container, a, "eth0 has no address "+text)
			ensure(t, open(t, container), a, true)
			verifies(t, container, a)
			lacks(t, container.Sh(t, "ip", "addr"), "tentative global")
			ensure(t, open(t, container), a, false)
			removes(t, container, a)
			verifies(t, container, a) // it goes with its link
			container.Sh(t, "ip", "addr", "del", text, "dev", "eth0")
			drifts(t, container, a, "eth0 has no address "+text)
		})
	}
}

// Without duplicate address detection, an address can be used at once.
func TestAddressUsableAtOnce(t *testing.T) {
	testnet.NewHost(t)
	container := attached(t, "c")
	ensure(t, open(t, container), address("fd00::2/64"), true)
	shows(t, container.Sh(t, "ip", "-6", "addr", "show", "dev", "eth0"), "fd00::2/64 scope global nodad")
	lacks(t, container.Sh(t, "ip", "-6", "addr", "show", "dev", "eth0", "scope", "global"), "tentative")
}

// Runtimes turn IPv6 off in a container unless told otherwise; an IPv6 lease tells otherwise.
func TestAddressEnablesIPv6(t *testing.T) {
	testnet.NewHost(t)
	container := testnet.NewNS(t, "c")
	container.Sh(t, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
	apply(t, open(t, container), state.Veth{Owner: owner("c"), MAC: owner("c").MAC()})
	ensure(t, open(t, container), address("fd00::2/64"), true)
	verifies(t, container, address("fd00::2/64"))
}

func TestAddressOfMissingLink(t *testing.T) {
	k, _ := newPair(t)
	if _, err := address("10.0.0.2/24").Ensure(k); err == nil || !strings.Contains(err.Error(), "eth0") {
		t.Errorf("error %v names no link", err)
	}
	if err := address("10.0.0.2/24").Verify(k); err != nil {
		t.Errorf("Verify: %v, which is for the link to say", err)
	}
}

func TestAddressDAD(t *testing.T) {
	testnet.NewHost(t)
	container := attached(t, "c")
	a := address("fd00::2/64")
	a.DAD = true
	begin := time.Now()
	ensure(t, open(t, container), a, true)
	if took := time.Since(begin); took < 100*time.Millisecond {
		t.Errorf("detection took %s: less than the time for an answer", took)
	}
	shows(t, container.Sh(t, "ip", "-6", "addr"), "fd00::2/64 scope global")
	lacks(t, container.Sh(t, "ip", "-6", "addr", "show", "scope", "global"), "tentative", "dadfailed")
}

// An address that another machine has must fail the ADD.
func TestAddressDADFindsDuplicate(t *testing.T) {
	testnet.NewHost(t)
	holder, container := attached(t, "h"), attached(t, "c")
	ensure(t, open(t, holder), address("fd00::2/64"), true)
	a := address("fd00::2/64")
	a.DAD = true
	_, err := a.Ensure(open(t, container))
	if err == nil || !strings.Contains(err.Error(), "another machine on the network has this address") {
		t.Errorf("error %v names no duplicate", err)
	}
}

func TestAddresses(t *testing.T) {
	k, container := newPair(t)
	container.Sh(t, "ip", "link", "set", "lo", "up")
	got, err := state.Addresses(k, state.Container, "lo")
	if err != nil {
		t.Fatal(err)
	}
	want := prefixes("127.0.0.1/8", "::1/128")
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAddressString(t *testing.T) {
	dad := address("fd00::2/64")
	dad.DAD = true
	for want, a := range map[string]state.Address{
		"ip addr add 10.0.0.2/24 dev eth0":      address("10.0.0.2/24"),
		"ip addr add fd00::2/64 dev eth0 nodad": address("fd00::2/64"),
		"ip addr add fd00::2/64 dev eth0":       dad,
	} {
		if got := a.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
