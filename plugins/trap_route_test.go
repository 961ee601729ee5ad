package plugins

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// route is a route as ip shows it, with the attributes that a result may ask for.
type route struct {
	Dst, Gateway, Dev, Scope, Table string
	Metric                          int
	Metrics                         []map[string]int
}

func routesOf(t *testing.T, n *testnet.Namespace, args ...string) []route {
	t.Helper()
	var found []route
	decodeShown(t, n, &found, append([]string{"route", "show"}, args...)...)
	return found
}

// TestRouteAttributesAreProgrammed, not only echoed in the result.
func TestRouteAttributesAreProgrammed(t *testing.T) {
	container := testnet.NewNS(t, "c")
	a := bridgeOn(t, container).with("isDefaultGateway", nil).with("isGateway", true).withIPAM("routes", []map[string]any{
		{"dst": "10.8.0.0/16", "mtu": 1300, "advmss": 1200, "priority": 50},
		{"dst": "10.9.0.0/16", "table": 100},
		{"dst": "10.10.0.0/16", "scope": 253},
	})
	result := a.add(t)
	want := []route{
		{Dst: "10.8.0.0/16", Gateway: "10.1.0.1", Dev: "eth0", Metric: 50, Metrics: []map[string]int{{"mtu": 1300, "advmss": 1200}}},
		{Dst: "10.10.0.0/16", Dev: "eth0", Scope: "link"},
		{Dst: "10.9.0.0/16", Gateway: "10.1.0.1", Dev: "eth0", Table: "100"},
	}
	var got []route
	for _, selector := range [][]string{{"10.8.0.0/16"}, {"10.10.0.0/16"}, {"10.9.0.0/16", "table", "100"}} {
		for _, r := range routesOf(t, container, selector...) {
			if r.Scope == "global" {
				r.Scope = ""
			}
			if r.Table == "main" {
				r.Table = ""
			}
			got = append(got, r)
		}
	}
	want[2].Table = got[2].Table // shown by some releases of ip only
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	a.after(result).succeed(t, "CHECK")
	container.Sh(t, "ip", "route", "replace", "10.8.0.0/16", "via", "10.1.0.1", "dev", "eth0", "mtu", "1200", "advmss", "1200", "metric", "50")
	wantText(t, "sentence", "drift: route to 10.8.0.0/16 via 10.1.0.1 through eth0 has MTU 1200 instead of 1300", a.after(result).fail(t, "CHECK", 100))
	container.Sh(t, "ip", "route", "replace", "10.8.0.0/16", "via", "10.1.0.1", "dev", "eth0", "mtu", "1300", "advmss", "1200", "metric", "50")
	container.Sh(t, "ip", "route", "del", "10.9.0.0/16", "table", "100")
	wantText(t, "sentence", "drift: no route to 10.9.0.0/16 via 10.1.0.1 through eth0", a.after(result).fail(t, "CHECK", 100))
}

// TestSecondNetworkTakesOver: the default route of the second gives way, by its metric, until the first goes.
func TestSecondNetworkTakesOver(t *testing.T) {
	container := testnet.NewNS(t, "c")
	first := bridgeOn(t, container).withIPAM("ranges", [][]map[string]string{{{"subnet": "10.1.0.0/24"}}, {{"subnet": "fd01::/64"}}})
	second := first.with("name", "net2").with("bridge", "br2").on(container, "eth1").
		withIPAM("ranges", [][]map[string]string{{{"subnet": "10.2.0.0/24"}}, {{"subnet": "fd02::/64"}}})
	first = first.after(first.add(t))
	second = second.after(second.add(t))
	for _, a := range []attachment{first, second} {
		a.succeed(t, "CHECK")
	}
	wantWay(t, container, "192.0.2.1", "eth0")
	wantWay(t, container, "2001:db8::1", "eth0")
	first.succeed(t, "DEL")
	second.succeed(t, "CHECK")
	wantWay(t, container, "192.0.2.1", "eth1")
	wantWay(t, container, "2001:db8::1", "eth1")
}

// wantWay asks by which link a packet would go. Nothing is sent.
func wantWay(t *testing.T, n *testnet.Namespace, to, dev string) {
	t.Helper()
	var way []route
	decodeShown(t, n, &way, "route", "get", to)
	if len(way) != 1 || way[0].Dev != dev {
		t.Errorf("way to %s: got %+v, want by %s", to, way, dev)
	}
}
