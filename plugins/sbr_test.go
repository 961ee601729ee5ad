package plugins

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// TestSBRAsUpstream: whatever networks a container is on, what each address sends goes the ways that upstream's plugin makes. The link-local
// routes of IPv6 alone stay in the main table, where the kernel looks for neighbours.
func TestSBRAsUpstream(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 6 {
		var networks []map[string]any
		for n := range 1 + random.IntN(3) {
			subnets := []string{fmt.Sprintf("10.%d.0.0/24", n+1)}
			if random.IntN(2) == 0 {
				subnets = append(subnets, fmt.Sprintf("fd0%d::/64", n+1))
			}
			if random.IntN(3) == 0 {
				subnets = append(subnets, fmt.Sprintf("10.%d.0.0/25", n+101))
			}
			network := map[string]any{"subnets": subnets, "gateway": random.IntN(4) > 0}
			if random.IntN(3) == 0 {
				network["table"] = 1000 + n
			}
			networks = append(networks, network)
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			var ours, theirs []string
			t.Run("ours", func(t *testing.T) { ours = routing(t, "sbr", networks) })
			t.Run("upstream", func(t *testing.T) { theirs = routing(t, upstream(t, "sbr"), networks) })
			if diff := cmp.Diff(theirs, ours); diff != "" {
				t.Errorf("%v (-upstream +ours):\n%s", networks, diff)
			}
		})
	}
}

// routing attaches a container to networks, with sbr behind each, and shows its rules and routes.
func routing(t *testing.T, sbr string, networks []map[string]any) []string {
	t.Helper()
	container := testnet.NewNS(t, "c")
	host := bridgeOn(t, container)
	for i, network := range networks {
		a := host.on(container, fmt.Sprint("eth", i)).with("cniVersion", "1.0.0").with("bridge", fmt.Sprint("br", i)).with("name", fmt.Sprint("net", i)).
			with("isDefaultGateway", network["gateway"]).with("ipam", hostLocal(t.TempDir(), network["subnets"].([]string)...))
		behind := a.behind(a.add(t), "sbr", map[string]any{})
		if table := network["table"]; table != nil {
			behind = behind.with("table", table)
		}
		behind.plugin = sbr
		behind.add(t)
	}
	return append(sourceRoutes(t, container, "-4"), sourceRoutes(t, container, "-6")...)
}

// sourceRoutes are the routes of the main table and of those that rules lead to, each with the source of the rule. The number of a table
// says nothing, unless it was given.
func sourceRoutes(t *testing.T, container *testnet.Namespace, family string) (shown []string) {
	t.Helper()
	for line := range strings.Lines(container.Sh(t, "ip", family, "rule")) {
		fields := strings.Fields(line) // 0: from SOURCE lookup TABLE
		source, table := fields[2], fields[4]
		if table == "local" || table == "default" {
			continue
		}
		if len(table) == 4 {
			source += " by table " + table
		}
		shown = append(shown, "from "+source)
		routes := container.Sh(t, "sh", "-c", "ip "+family+" route show table "+table+" 2>/dev/null || true") // without routes there is no table
		for route := range strings.Lines(routes) {
			if route = strings.Join(strings.Fields(route), " "); !strings.HasPrefix(route, "fe80::/64") {
				shown = append(shown, "from "+source+" "+route)
			}
		}
	}
	slices.Sort(shown)
	return slices.Compact(shown)
}

// TestSBR: an address answers by its own interface; what is lost is missed by CHECK, and DEL leaves no rule.
func TestSBR(t *testing.T) {
	container := testnet.NewNS(t, "c")
	a := bridgeOn(t, container).with("ipam", hostLocal(t.TempDir(), "10.1.0.0/24", "fd01::/64"))
	result := a.add(t)
	sbr := a.behind(result, "sbr", nil)
	sbr = sbr.after(sbr.add(t))
	sbr.add(t) // once more changes nothing
	for _, check := range []attachment{sbr, a.after(result)} {
		check.succeed(t, "CHECK")
	}
	wantText(t, "rules", "10.1.0.2 100 fd01::2 101", strings.Join(sbrRules(t, container), " "))
	if main := container.Sh(t, "ip", "route"); main != "" {
		t.Errorf("routes left in the main table:\n%s", main)
	}
	container.Sh(t, "busybox", "ping", "-c", "1", "-W", "20", "-I", "10.1.0.2", "10.1.0.1")
	container.Sh(t, "busybox", "ping", "-6", "-c", "1", "-W", "20", "-I", "fd01::2", "fd01::1")
	container.Sh(t, "ip", "route", "del", "default", "table", "100")
	container.Sh(t, "ip", "-6", "rule", "del", "from", "fd01::2")
	wantText(t, "CHECK", "drift: no default route by 10.1.0.1 in table 100; drift: no rule for what fd01::2 sends", sbr.fail(t, "CHECK", 100))
	container.Sh(t, "ip", "-6", "rule", "add", "from", "fd01::2", "table", "101")
	sbr.with("prevResult", nil).succeed(t, "DEL") // by the addresses of the interface
	if left := sbrRules(t, container); len(left) > 0 {
		t.Errorf("rules left: %v", left)
	}
	sbr.succeed(t, "DEL")
	a.succeed(t, "DEL")
	noAddress := map[string]any{"cniVersion": "1.1.0", "interfaces": []any{map[string]any{"name": "eth0", "sandbox": container.Path}}}
	wantText(t, "sentence", "link lo has no address by the result of the plugins before, in conflict with the configuration: name the plugin behind one that gives addresses",
		sbr.withEnv("CNI_IFNAME", "lo").with("prevResult", noAddress).fail(t, "ADD", 7))
}

// sbrRules are the addresses that have a rule, each with its table.
func sbrRules(t *testing.T, container *testnet.Namespace) (rules []string) {
	t.Helper()
	for _, family := range []string{"-4", "-6"} {
		for line := range strings.Lines(container.Sh(t, "ip", family, "rule")) {
			if fields := strings.Fields(line); len(fields) == 5 && fields[2] != "all" {
				rules = append(rules, fields[2]+" "+fields[4])
			}
		}
	}
	return rules
}
