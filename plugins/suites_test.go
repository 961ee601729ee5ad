package plugins

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// suites are attachments that both suites can make, each by a plugin of the name.
func suites() map[string]func(t *testing.T) attachment {
	return map[string]func(t *testing.T) attachment{
		"bridge": func(t *testing.T) attachment {
			return bridgeOn(t, testnet.NewNS(t, "c")).with("ipMasq", nil).with("macspoofchk", nil)
		},
		"bridge of layer 2": func(t *testing.T) attachment {
			return bridgeOn(t, testnet.NewNS(t, "c")).with("ipam", nil).with("isDefaultGateway", nil).with("ipMasq", nil).with("macspoofchk", nil)
		},
		"macvlan": func(t *testing.T) attachment {
			a, _ := macvlanOn(t, testnet.NewNS(t, "c"))
			return a.withIPAM("ranges", [][]map[string]string{{{"subnet": lanV4}}}).withIPAM("routes", []map[string]string{{"dst": "0.0.0.0/0"}})
		},
		"macvlan of layer 2": func(t *testing.T) attachment {
			a, _ := macvlanOn(t, testnet.NewNS(t, "c"))
			return a.with("ipam", nil)
		},
	}
}

// TestSuitesTakeOver: what one suite has attached, the other checks and detaches, in every version, with the recorded result and
// without: libcni passes it on to DEL from 0.4.0 on, if it has it still. Nothing is left, and no address is given back while the
// link has it.
func TestSuitesTakeOver(t *testing.T) {
	for name, on := range suites() {
		for _, version := range versions() {
			if strings.Contains(name, "layer 2") && version < "0.3.0" {
				continue // results of theirs need an address
			}
			for _, theirs := range []bool{true, false} {
				for _, recorded := range []bool{true, false} {
					label := strings.Join([]string{name, version, map[bool]string{true: "theirs", false: "ours"}[theirs], map[bool]string{true: "recorded", false: "unrecorded"}[recorded]}, " ")
					t.Run(label, func(t *testing.T) { takeOver(t, on(t).with("cniVersion", version), theirs, recorded) })
				}
			}
		}
	}
}

// takeOver attaches by one suite, and checks and detaches by the other.
func takeOver(t *testing.T, ours attachment, theirs, recorded bool) {
	t.Helper()
	ours = ours.withEnv("CNI_PATH", filepath.Dir(upstream(t, "host-local")))
	first, second := ours, ours
	if theirs {
		first.plugin = upstream(t, ours.plugin)
	} else {
		second.plugin = upstream(t, ours.plugin)
	}
	said := first.run(t, "ADD")
	if said.code != 0 {
		t.Fatalf("ADD: %s%s", said.stdout, said.stderr)
	}
	var result map[string]any
	decodeOne(t, said.stdout, &result)
	after := second.with("prevResult", result)
	// Theirs refuses any list of layer 2 at CHECK.
	if ours.conf["cniVersion"].(string) >= "0.4.0" && (theirs || ours.conf["ipam"] != nil) {
		after.succeed(t, "CHECK")
	}
	if !recorded {
		after = second
	}
	for range 2 {
		after.succeed(t, "DEL")
		left := ours.traces(t)
		if len(left.Container) != 1 || len(left.Reservations) > 0 || strings.Contains(left.Rules, `comment "fairway net`) || len(left.Host) > 2 {
			t.Errorf("left: %+v", left)
		}
	}
}

// TestChainsAreChecked: what later plugins of a list do to the interface is no drift where the result says so, or cannot: sbr moves
// routes to a table of its own, route-override takes them away, tuning changes the MAC and the MTU.
func TestChainsAreChecked(t *testing.T) {
	u := func(t *testing.T) attachment {
		u := newUnderlay(t, false)
		return overlayOn(t, u, u.host(t, 1), testnet.NewNS(t, "c"))
	}
	all := suites()
	all["overlay-vxlan"] = u
	for name, on := range all {
		for _, tt := range []struct {
			name   string
			script string
			change func(result map[string]any)
		}{
			{"sbr", `ip -4 route show | grep -v "proto kernel" | sed "s/linkdown//" | while read r; do ip route add $r table 100; ip route del $r; done`, func(map[string]any) {}},
			{"route-override", `ip route flush default || true; ip -6 route flush default || true`, func(r map[string]any) {
				r["routes"] = nil
				for _, ip := range r["ips"].([]any) {
					ip := ip.(map[string]any)
					if strings.Contains(ip["address"].(string), ".") {
						ip["gateway"] = "0.0.0.0"
					} else {
						delete(ip, "gateway")
					}
				}
			}},
			{"tuning", `ip link set eth0 mtu 1280 promisc on`, func(map[string]any) {}},
		} {
			t.Run(name+" "+tt.name, func(t *testing.T) {
				a := on(t)
				said := a.run(t, "ADD")
				if said.code != 0 {
					t.Fatalf("ADD: %s%s", said.stdout, said.stderr)
				}
				var result map[string]any
				decodeOne(t, said.stdout, &result)
				if _, has := result["ips"]; !has {
					result["ips"] = []any{}
				}
				(&testnet.Namespace{Path: a.env["CNI_NETNS"]}).Sh(t, "sh", "-ec", tt.script)
				tt.change(result)
				a.with("prevResult", result).succeed(t, "CHECK")
				a.with("prevResult", result).succeed(t, "DEL")
			})
		}
	}
}
