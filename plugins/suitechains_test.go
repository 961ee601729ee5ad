package plugins

import (
	"maps"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// chainOf is a list of plugins for one attachment: the first attaches, each of the others gets what the one before it said.
type chainOf []attachment

// by is the list with the plugins of upstream.
func (c chainOf) by(t *testing.T, theirs bool) (list chainOf) {
	t.Helper()
	for _, a := range c {
		if theirs {
			a.plugin = upstream(t, a.plugin)
		}
		list = append(list, a)
	}
	return list
}

// on is the list for another container.
func (c chainOf) on(container *testnet.Namespace) (list chainOf) {
	for _, a := range c {
		list = append(list, a.on(container, "eth0"))
	}
	return list
}

// add runs ADD of all, and gives the last result.
func (c chainOf) add(t *testing.T) (result map[string]any) {
	t.Helper()
	for _, a := range c {
		if result != nil {
			a = a.with("prevResult", result)
		}
		said := a.run(t, "ADD")
		if said.code != 0 {
			t.Fatalf("ADD of %s: %s%s", filepath.Base(a.plugin), said.stdout, said.stderr)
		}
		result = nil
		decodeOne(t, said.stdout, &result)
	}
	return result
}

// check runs CHECK of all.
func (c chainOf) check(t *testing.T, result map[string]any) {
	t.Helper()
	for _, a := range c {
		if got := a.with("prevResult", result).run(t, "CHECK"); got.code != 0 {
			t.Errorf("CHECK of %s: %s%s", filepath.Base(a.plugin), got.stdout, got.stderr)
		}
	}
}

// del runs DEL of all, last first; a result of nil is not passed on.
func (c chainOf) del(t *testing.T, result map[string]any) {
	t.Helper()
	for i := len(c) - 1; i >= 0; i-- {
		a := c[i]
		if result != nil {
			a = a.with("prevResult", result)
		}
		if got := a.run(t, "DEL"); got.code != 0 {
			t.Errorf("DEL of %s: %s%s", filepath.Base(a.plugin), got.stdout, got.stderr)
		}
	}
}

// chains are lists that both suites know.
func chains(t *testing.T, head attachment, backend string) chainOf {
	t.Helper()
	dir := t.TempDir()
	list := chainOf{head}
	for plugin, keys := range map[string]map[string]any{
		"tuning":    {"dataDir": dir, "mtu": 1300},
		"bandwidth": {"ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 8_000_000, "egressBurst": 800_000},
		"portmap": {"backend": backend, "capabilities": map[string]bool{"portMappings": true}, "runtimeConfig": map[string]any{"portMappings": []map[string]any{
			{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}, {"hostPort": 5353, "containerPort": 53, "protocol": "udp", "hostIP": "127.0.0.1"},
		}}},
		"firewall": {"ingressPolicy": "isolated", "backend": "iptables"},
	} {
		if plugin == "firewall" && head.conf["cniVersion"].(string) < "0.4.0" {
			continue // theirs refuses it
		}
		if plugin == "firewall" && head.plugin != "bridge" {
			keys = map[string]any{"backend": "iptables"}
		}
		next := head.behind(nil, plugin, keys)
		delete(next.conf, "prevResult")
		list = append(list, next)
	}
	return list
}

// heads are the plugins that have rules of their own, and what they are behind in a list.
func heads() map[string]func(t *testing.T) attachment {
	dual := func(t *testing.T) attachment {
		return bridgeOn(t, testnet.NewNS(t, "c")).with("ipam", hostLocal(t.TempDir(), "10.1.0.0/24", "fd00:1::/64")).
			withEnv("CNI_PATH", filepath.Dir(upstream(t, "host-local")))
	}
	return map[string]func(t *testing.T) attachment{
		"bridge":   dual,
		"nftables": func(t *testing.T) attachment { return dual(t).with("ipMasqBackend", "nftables") },
		"ptp": func(t *testing.T) attachment {
			a := dual(t).with("ipam", hostLocal(t.TempDir(), "10.1.0.0/24")) // theirs waits for seconds in IPv6
			a.plugin = "ptp"
			return a.with("type", "ptp").with("bridge", nil).with("isDefaultGateway", nil).with("macspoofchk", nil)
		},
	}
}

// rulesLeft is the host's rules but for what is there of a table when nobody is attached: chains of the kernel's hooks without a rule, and
// fairway's own tables without an element.
func (a attachment) rulesLeft(t *testing.T) string {
	t.Helper()
	text := a.host.Sh(t, "nft", "-s", "list", "ruleset") + "\n"
	own := elements(text)
	text = regexp.MustCompile(`(?ms)^table \w+ fairway\w* \{.*?^\}\n`).ReplaceAllString(text, "")
	text = regexp.MustCompile(`(?m)^(#.*)?\n`).ReplaceAllString(text, "")
	text = regexp.MustCompile(`\tchain \w+ \{\n\t\ttype [^\n]*\n\t\}\n`).ReplaceAllString(text, "")
	text = regexp.MustCompile(`(?m)^table \w+ \w+ \{\n\}\n`).ReplaceAllString(text, "")
	return strings.TrimSpace(text + own)
}

// TestChainsAreTakenOver: what the plugins of a list have made by one suite, the other checks and takes away, in every version that knows lists,
// with the recorded result and without; what they have made for another container stays as it was.
func TestChainsAreTakenOver(t *testing.T) {
	for name, on := range heads() {
		for _, version := range []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
			for backend, recorded := range map[string]bool{"iptables": true, "nftables": false} {
				t.Run(strings.Join([]string{name, version, backend}, " "), func(t *testing.T) {
					head := on(t).with("cniVersion", version)
					ours := chains(t, head, backend)
					takeOverChain(t, ours, recorded)
				})
			}
		}
	}
}

func takeOverChain(t *testing.T, ours chainOf, recorded bool) {
	t.Helper()
	head := ours[0]
	theirs := ours.by(t, true)
	neighbour := testnet.NewNS(t, "d")
	others := without(theirs.on(neighbour), "portmap") // whose ports it has not
	beside := others.add(t)
	before := head.rulesLeft(t)
	result := theirs.add(t)
	if head.conf["cniVersion"].(string) >= "0.4.0" {
		ours.check(t, result)
	}
	given := maps.Clone(result)
	if !recorded {
		given = nil
	}
	for range 2 {
		ours.del(t, given)
		if diff := cmp.Diff(before, head.rulesLeft(t)); diff != "" {
			t.Fatalf("rules beside another container (-before +after):\n%s", diff)
		}
	}
	if left := head.traces(t); len(left.Container) != 1 || len(left.Reservations) != len(head.conf["ipam"].(map[string]any)["ranges"].([][]map[string]string)) {
		t.Errorf("left: %+v", left)
	}
	ours.on(neighbour).del(t, beside)
	if left := head.rulesLeft(t); left != "" {
		t.Errorf("rules left:\n%s", left)
	}
}

// TestChainsAreGivenBack: what the plugins of a list have made by our suite, the other detaches: no link, device or address is left. It finds
// none of our elements; our GC does.
func TestChainsAreGivenBack(t *testing.T) {
	for name, on := range heads() {
		for _, version := range []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
			for backend, recorded := range map[string]bool{"iptables": true, "nftables": false} {
				t.Run(strings.Join([]string{name, version, backend}, " "), func(t *testing.T) {
					ours := chains(t, on(t).with("cniVersion", version), backend)
					giveBackChain(t, ours, recorded)
				})
			}
		}
	}
}

func giveBackChain(t *testing.T, ours chainOf, recorded bool) {
	t.Helper()
	head, theirs := ours[0], ours.by(t, true)
	given := ours.add(t)
	if !recorded {
		given = nil
	}
	theirs.del(t, given)
	left := head.traces(t)
	if len(left.Container) != 1 || len(left.Reservations) > 0 {
		t.Errorf("left: %+v", left)
	}
	for _, a := range ours {
		a.gcCall().with("cniVersion", "1.1.0").with("cni.dev/valid-attachments", []any{}).succeed(t, "GC")
	}
	left.Rules = regexp.MustCompile(`(?m)^.*comment "fairway-bridge br0" \}\n?`).ReplaceAllString(head.rulesLeft(t), "") // which stays as well
	if left.Rules != "" {
		t.Errorf("rules left by GC:\n%s", left.Rules)
	}
	if left := links(t, head.host); strings.Contains(strings.Join(left, " "), "bwp") {
		t.Errorf("links left: %v", left)
	}
}

// without is the list without a plugin.
func without(c chainOf, plugin string) (list chainOf) {
	for _, a := range c {
		if filepath.Base(a.plugin) != plugin {
			list = append(list, a)
		}
	}
	return list
}

// TestLostRulesOfTheOtherSuite: CHECK says what is missing, whichever suite has made it.
func TestLostRulesOfTheOtherSuite(t *testing.T) {
	for _, backend := range []string{"iptables", "nftables"} {
		t.Run(backend, func(t *testing.T) {
			ours := chains(t, heads()["bridge"](t), backend)
			result := ours.by(t, true).add(t)
			ours.check(t, result)
			ours[0].host.Sh(t, "nft", "flush", "ruleset")
			for _, a := range ours {
				if name := filepath.Base(a.plugin); name == "portmap" || name == "firewall" {
					a.with("prevResult", result).fail(t, "CHECK", 100)
				}
			}
			ours.del(t, result)
		})
	}
}
