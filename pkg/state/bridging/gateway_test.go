package bridging_test

import (
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/bridging"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// addressesOf lists the global addresses of a link on the host, in the kernel's order.
func addressesOf(t *testing.T, link string) string {
	t.Helper()
	var found []string
	fields := strings.Fields(testnet.Sh(t, "ip", "-o", "addr", "show", "dev", link, "scope", "global"))
	for i, field := range fields {
		if strings.HasPrefix(field, "inet") {
			found = append(found, fields[i+1])
		}
	}
	return strings.Join(found, " ")
}

func TestGateway(t *testing.T) {
	testnet.NewHost(t)
	gateway := bridging.Gateway{Link: "br0", Prefixes: statetest.Prefixes("10.0.0.1/24", "10.0.1.1/24", "fd00::1/64")}
	statetest.Apply(t, statetest.Open(t, nil), bridging.Bridge{Name: "br0"})
	statetest.Drifts(t, nil, gateway, "br0 has no address 10.0.0.1/24")
	statetest.Drifts(t, nil, gateway, "br0 has no address fd00::1/64")
	statetest.Ensure(t, statetest.Open(t, nil), gateway, true)
	statetest.Verifies(t, nil, gateway)
	statetest.Lacks(t, testnet.Sh(t, "ip", "-6", "addr", "show", "dev", "br0", "scope", "global"), "tentative")
	statetest.Ensure(t, statetest.Open(t, nil), gateway, false)
	testnet.Sh(t, "ip", "addr", "del", "10.0.1.1/24", "dev", "br0")
	statetest.Drifts(t, nil, gateway, "br0 has no address 10.0.1.1/24")
	statetest.Ensure(t, statetest.Open(t, nil), gateway, true)
	statetest.Verifies(t, nil, gateway)
}

func TestGatewayConflicts(t *testing.T) {
	for _, test := range []struct {
		name       string
		has, wants string
		force      bool
		conflict   string
		left       string
	}{
		{name: "another IPv4 subnet", has: "10.1.0.1/24", wants: "10.0.0.1/24", conflict: "br0 has address 10.1.0.1/24", left: "10.1.0.1/24"},
		{name: "the same address with another length", has: "10.0.0.1/16", wants: "10.0.0.1/24", conflict: "10.0.0.1/16", left: "10.0.0.1/16"},
		{name: "an IPv6 subnet that overlaps", has: "fd00::2/48", wants: "fd00::1/64", conflict: "fd00::2/48", left: "fd00::2/48"},
		{name: "an IPv6 subnet beside", has: "fd01::1/64", wants: "fd00::1/64", left: "fd00::1/64 fd01::1/64"},
		{name: "the other family", has: "10.1.0.1/24", wants: "fd00::1/64", left: "10.1.0.1/24 fd00::1/64"},
		{name: "forced IPv4", has: "10.1.0.1/24", wants: "10.0.0.1/24", force: true, left: "10.0.0.1/24"},
		{name: "forced IPv6", has: "fd00::2/48", wants: "fd00::1/64", force: true, left: "fd00::1/64"},
		{name: "forced within the same subnet", has: "10.0.0.9/24", wants: "10.0.0.1/24", force: true, left: "10.0.0.1/24"},
	} {
		t.Run(test.name, func(t *testing.T) {
			testnet.NewHost(t)
			statetest.Apply(t, statetest.Open(t, nil), bridging.Bridge{Name: "br0"})
			testnet.Sh(t, "ip", "addr", "add", test.has, "dev", "br0")
			gateway := bridging.Gateway{Link: "br0", Prefixes: statetest.Prefixes(test.wants), Force: test.force}
			_, err := gateway.Ensure(statetest.Open(t, nil))
			if test.conflict == "" && err != nil {
				t.Error(err)
			}
			if test.conflict != "" {
				statetest.Fails(t, err, state.ErrConflict, test.conflict)
			}
			if got := addressesOf(t, "br0"); got != test.left {
				t.Errorf("addresses %q, want %q", got, test.left)
			}
		})
	}
}

// A gateway that fails takes back the addresses it added, and only these.
func TestGatewayTakesBack(t *testing.T) {
	testnet.NewHost(t)
	statetest.Apply(t, statetest.Open(t, nil), bridging.Bridge{Name: "br0"}, bridging.Gateway{Link: "br0", Prefixes: statetest.Prefixes("10.0.0.1/24")})
	both := bridging.Gateway{Link: "br0", Prefixes: statetest.Prefixes("10.0.0.1/24", "fd00::1/64")}
	testnet.Sh(t, "ip", "addr", "add", "fd00::9/64", "dev", "br0")
	_, err := both.Ensure(statetest.Open(t, nil))
	statetest.Fails(t, err, state.ErrConflict, "fd00::9/64")
	if got, want := addressesOf(t, "br0"), "10.0.0.1/24 fd00::9/64"; got != want {
		t.Errorf("addresses %q, want %q", got, want)
	}
}
