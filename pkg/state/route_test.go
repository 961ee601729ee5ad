package state_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// twoHomed gives a test a container with two links, each with an address of both families.
func twoHomed(t *testing.T) *testnet.Namespace {
	t.Helper()
	testnet.NewHost(t)
	container := testnet.NewNS(t, "c")
	k := statetest.Open(t, container)
	for i, name := range []string{"eth0", "eth1"} {
		o := state.Owner{Network: "net", ContainerID: "c", IfName: name}
		statetest.Apply(t, k, state.Veth{Owner: o, MAC: o.MAC()})
		for _, p := range []netip.Prefix{
			netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 2}), 24),
			netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 7: byte(i), 15: 2}), 64),
		} {
			statetest.Ensure(t, k, state.Address{In: state.Container, Link: name, Prefix: p}, true)
		}
	}
	return container
}

func route(link, dst, via string) state.Route {
	r := state.Route{In: state.Container, Link: link, Dst: netip.MustParsePrefix(dst)}
	if via != "" {
		r.Via = netip.MustParseAddr(via)
	}
	return r
}

func TestRoute(t *testing.T) {
	table, scope := 100, 253
	options := route("eth0", "10.9.0.0/16", "10.0.0.1")
	options.MTU, options.AdvMSS, options.Priority, options.Table = 1400, 1300, 42, &table
	scoped := route("eth0", "10.9.0.0/16", "")
	scoped.Scope = &scope
	options6 := route("eth0", "fd09::/64", "fd00::1")
	options6.MTU, options6.AdvMSS, options6.Priority, options6.Table = 1400, 1300, 42, &table
	for _, test := range []struct {
		name  string
		route state.Route
		show  []string
		want  string
	}{
		{"next hop", route("eth0", "10.9.0.0/16", "10.0.0.1"), []string{"ip", "route"}, "10.9.0.0/16 via 10.0.0.1 dev eth0"},
		{"on the link", route("eth0", "10.9.0.0/16", ""), []string{"ip", "route"}, "10.9.0.0/16 dev eth0 scope link"},
		{"host bits", route("eth0", "10.9.0.1/32", "10.0.0.1"), []string{"ip", "route"}, "10.9.0.1 via 10.0.0.1 dev eth0"},
		{"default", route("eth0", "0.0.0.0/0", "10.0.0.1"), []string{"ip", "route"}, "default via 10.0.0.1 dev eth0"},
		{"default IPv6", route("eth0", "::/0", "fd00::1"), []string{"ip", "-6", "route"}, "default via fd00::1 dev eth0"},
		{"IPv6 on the link", route("eth0", "fd09::/64", ""), []string{"ip", "-6", "route"}, "fd09::/64 dev eth0"},
		{"options", options, []string{"ip", "route", "show", "table", "100"}, "10.9.0.0/16 via 10.0.0.1 dev eth0 metric 42 mtu 1400 advmss 1300"},
		{"IPv6 options", options6, []string{"ip", "-6", "route", "show", "table", "100"}, "fd09::/64 via fd00::1 dev eth0 metric 42 mtu 1400 advmss 1300"},
		{"scope", scoped, []string{"ip", "route"}, "10.9.0.0/16 dev eth0 scope link"},
	} {
		t.Run(test.name, func(t *testing.T) {
			container := twoHomed(t)
			statetest.Drifts(t, container, test.route, "no route to "+test.route.Dst.String())
			statetest.Ensure(t, statetest.Open(t, container), test.route, true)
			statetest.Verifies(t, container, test.route)
			statetest.Shows(t, container.Sh(t, test.show[0], test.show[1:]...), test.want)
			statetest.Ensure(t, statetest.Open(t, container), test.route, false)
			statetest.Removes(t, container, test.route)
			container.Sh(t, "ip", "link", "set", "eth0", "down")
			statetest.Drifts(t, container, test.route, "no route to "+test.route.Dst.String())
		})
	}
}

// What is declared of a route is compared; what is not may be as it likes.
func TestRouteDrifts(t *testing.T) {
	scope := 253
	plain, options, options6 := route("eth0", "10.9.0.0/16", ""), route("eth0", "10.9.0.0/16", ""), route("eth0", "fd09::/64", "fd00::1")
	options.MTU, options.AdvMSS, options.Scope = 1400, 1300, &scope
	options6.MTU, options6.AdvMSS, options6.Scope = 1400, 1300, &scope
	container := twoHomed(t)
	for _, r := range []state.Route{options, options6} {
		statetest.Ensure(t, statetest.Open(t, container), r, true)
		statetest.Verifies(t, container, r)
	}
	container.Sh(t, "ip", "route", "replace", "10.9.0.0/16", "dev", "eth0", "scope", "host", "mtu", "1200")
	for _, text := range []string{"MTU 1200 instead of 1400", "advmss 0 instead of 1300", "scope 254 instead of 253"} {
		statetest.Drifts(t, container, options, "route to 10.9.0.0/16 through eth0 has "+text)
	}
	statetest.Verifies(t, container, plain)
	// One that fits is enough.
	container.Sh(t, "ip", "route", "add", "10.9.0.0/16", "dev", "eth0", "scope", "link", "mtu", "1400", "advmss", "1300", "metric", "9")
	statetest.Verifies(t, container, options)
	container.Sh(t, "ip", "route", "replace", "fd09::/64", "via", "fd00::1", "dev", "eth0", "mtu", "1200", "advmss", "1300")
	statetest.Drifts(t, container, options6, "route to fd09::/64 via fd00::1 through eth0 has MTU 1200 instead of 1400")
}

// The second network of a container gives way, and takes over when the first one goes.
func TestRouteGivesWay(t *testing.T) {
	for _, test := range []struct {
		name, dst, via0, via1, family string
		first, second                 string
	}{
		{"IPv4", "0.0.0.0/0", "10.0.0.1", "10.0.1.1", "-4", "via 10.0.0.1 dev eth0", "via 10.0.1.1 dev eth1"},
		{"IPv6", "::/0", "fd00::1", "fd00:0:0:1::1", "-6", "via fd00::1 dev eth0", "via fd00:0:0:1::1 dev eth1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			container := twoHomed(t)
			first, second := route("eth0", test.dst, test.via0), route("eth1", test.dst, test.via1)
			statetest.Ensure(t, statetest.Open(t, container), first, true)
			statetest.Ensure(t, statetest.Open(t, container), second, true)
			statetest.Verifies(t, container, first)
			statetest.Verifies(t, container, second)
			target := map[string]string{"-4": "192.0.2.1", "-6": "2001:db8::1"}[test.family]
			statetest.Shows(t, container.Sh(t, "ip", test.family, "route", "get", target), test.first)
			statetest.Ensure(t, statetest.Open(t, container), second, false)
			container.Sh(t, "ip", "link", "del", "eth0")
			statetest.Shows(t, container.Sh(t, "ip", test.family, "route", "get", target), test.second)
			statetest.Verifies(t, container, second)
		})
	}
}

// A metric that was asked for is kept: with another link's route of the same one there is no deciding.
func TestRoutePriorityClash(t *testing.T) {
	container := twoHomed(t)
	first, second := route("eth0", "10.9.0.0/16", "10.0.0.1"), route("eth1", "10.9.0.0/16", "10.0.1.1")
	first.Priority, second.Priority = 7, 7
	statetest.Ensure(t, statetest.Open(t, container), first, true)
	_, err := second.Ensure(statetest.Open(t, container))
	statetest.Fails(t, err, state.ErrExists, "choose another priority")
	second.Priority = 8
	statetest.Ensure(t, statetest.Open(t, container), second, true)
	statetest.Verifies(t, container, second)
	second.Priority = 9
	statetest.Drifts(t, container, second, "no route to 10.9.0.0/16 via 10.0.1.1")
}

func TestRouteString(t *testing.T) {
	table, scope := 100, 253
	r := route("eth0", "10.9.0.0/16", "10.0.0.1")
	r.MTU, r.AdvMSS, r.Priority, r.Table, r.Scope = 1400, 1300, 42, &table, &scope
	want := "ip route add 10.9.0.0/16 via 10.0.0.1 dev eth0 mtu 1400 advmss 1300 metric 42 table 100 scope link"
	if got := r.String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestRouteOrderIsOfNames: whatever order networks are added in, and come back in, the default route is that of the link that comes first.
func TestRouteOrderIsOfNames(t *testing.T) {
	for _, test := range []struct{ dst, via, family, target string }{
		{"0.0.0.0/0", "10.0.%d.1", "-4", "192.0.2.1"}, {"::/0", "fd00:0:0:%x::1", "-6", "2001:db8::1"},
	} {
		t.Run(test.dst, func(t *testing.T) {
			container := twoHomed(t)
			routes := []state.Route{route("eth0", test.dst, fmt.Sprintf(test.via, 0)), route("eth1", test.dst, fmt.Sprintf(test.via, 1))}
			for _, order := range [][]int{{1, 0}, {0, 1}, {1, 0, 0, 1}} {
				for _, i := range order {
					if _, err := routes[i].Ensure(statetest.Open(t, container)); err != nil {
						t.Fatal(err)
					}
					statetest.Verifies(t, container, routes[i])
				}
				statetest.Shows(t, container.Sh(t, "ip", test.family, "route", "get", test.target), "dev eth0")
				container.Sh(t, "ip", test.family, "route", "del", test.dst, "dev", "eth0")
				statetest.Shows(t, container.Sh(t, "ip", test.family, "route", "get", test.target), "dev eth1")
				container.Sh(t, "ip", test.family, "route", "del", test.dst, "dev", "eth1")
			}
		})
	}
}

// A link of another name gives way to all that are there.
func TestRouteOfAnotherNameComesSecond(t *testing.T) {
	container := twoHomed(t)
	container.Sh(t, "ip", "link", "set", "eth0", "down")
	container.Sh(t, "ip", "link", "set", "eth0", "name", "data0", "up")
	first, second := route("data0", "0.0.0.0/0", "10.0.0.1"), route("eth1", "0.0.0.0/0", "10.0.1.1")
	statetest.Ensure(t, statetest.Open(t, container), second, true)
	statetest.Ensure(t, statetest.Open(t, container), first, true)
	statetest.Shows(t, container.Sh(t, "ip", "route", "get", "192.0.2.1"), "via 10.0.1.1 dev eth1")
	statetest.Verifies(t, container, first)
}
