package state_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

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
	gateway := state.Gateway{Link: "br0", Prefixes: prefixes("10.0.0.1/24", "10.0.1.1/24", "fd00::1/64")}
	apply(t, open(t, nil), state.Bridge{Name: "br0"})
	drifts(t, nil, gateway, "br0 has no address 10.0.0.1/24")
	drifts(t, nil, gateway, "br0 has no address fd00::1/64")
	ensure(t, open(t, nil), gateway, true)
	verifies(t, nil, gateway)
	lacks(t, testnet.Sh(t, "ip", "-6", "addr", "show", "dev", "br0", "scope", "global"), "tentative")
	ensure(t, open(t, nil), gateway, false)
	testnet.Sh(t, "ip", "addr", "del", "10.0.1.1/24", "dev", "br0")
	drifts(t, nil, gateway, "br0 has no address 10.0.1.1/24")
	ensure(t, open(t, nil), gateway, true)
	verifies(t, nil, gateway)
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
			apply(t, open(t, nil), state.Bridge{Name: "br0"})
			testnet.Sh(t, "ip", "addr", "add", test.has, "dev", "br0")
			gateway := state.Gateway{Link: "br0", Prefixes: prefixes(test.wants), Force: test.force}
			_, err := gateway.Ensure(open(t, nil))
			if test.conflict == "" && err != nil {
				t.Error(err)
			}
			if test.conflict != "" {
				fails(t, err, state.ErrConflict, test.conflict)
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
	apply(t, open(t, nil), state.Bridge{Name: "br0"}, state.Gateway{Link: "br0", Prefixes: prefixes("10.0.0.1/24")})
	both := state.Gateway{Link: "br0", Prefixes: prefixes("10.0.0.1/24", "fd00::1/64")}
	testnet.Sh(t, "ip", "addr", "add", "fd00::9/64", "dev", "br0")
	_, err := both.Ensure(open(t, nil))
	fails(t, err, state.ErrConflict, "fd00::9/64")
	if got, want := addressesOf(t, "br0"), "10.0.0.1/24 fd00::9/64"; got != want {
		t.Errorf("addresses %q, want %q", got, want)
	}
}
