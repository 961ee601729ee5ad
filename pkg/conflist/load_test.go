package conflist

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lay writes files into a netconf directory of the test's own.
func lay(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t *testing.T, dir string) Networks {
	t.Helper()
	ns, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

func (ns Networks) names() (names []string) {
	for _, n := range ns.All {
		names = append(names, n.Name)
	}
	return names
}

func TestLoadOrder(t *testing.T) {
	dir := lay(t, map[string]string{
		"20-b.conflist":              `{"name": "b", "plugins": [{"type": "bridge"}]}`,
		"10-c.conf":                  `{"name": "c", "type": "macvlan", "master": "eth0"}`,
		"05-d.json":                  `{"name": "d", "type": "ptp"}`,
		"10-a.conflist":              `{"name": "a", "plugins": [{"type": "none"}]}`,
		"fairway-e.config-only":      `{"name": "e", "fairway": {"driver": "null", "configOnly": true}}`,
		"99-more.conflist":           `{"name": "more"}`,
		"more/plugin.conf":           `{"type": "bridge", "bridge": "br-more"}`,
		"README":                     `not a network`,
		"k8s.io/nerdctl-z.conflist":  `{"name": "z", "plugins": [{"type": "bridge"}]}`,
		"default/nerdctl-y.conflist": `{"name": "y", "plugins": [{"type": "bridge"}]}`,
		"default/other.conf":         `{"name": "not one of nerdctl", "type": "bridge"}`,
		"default/deeper/x.conflist":  `{"name": "x", "plugins": [{"type": "bridge"}]}`,
		"sub.conflist/not-a.txt":     ``,
	})
	ns := load(t, dir)
	want := []string{"a", "b", "more", "d", "c", "e", "y", "z", "bridge", "host", "none"}
	if diff := cmp.Diff(want, ns.names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if len(ns.Warnings) != 1 || !strings.Contains(ns.Warnings[0].Error(), "sub.conflist is a directory") {
		t.Errorf("warnings: %v", ns.Warnings)
	}
	if more, _ := ns.named("more"); more.Link != "br-more" {
		t.Errorf("link of the network whose plugins lie in a directory: got %q, want br-more", more.Link)
	}
}

func TestLoadWarns(t *testing.T) {
	for name, test := range map[string]struct{ file, content, want string }{
		"cut short":    {"x.conflist", `{"name": "x", "plu`, "unexpected end of JSON"},
		"empty":        {"x.conflist", ``, "unexpected end of JSON"},
		"no name":      {"x.conflist", `{"plugins": [{"type": "none"}]}`, "no name"},
		"no plugins":   {"x.conflist", `{"name": "x"}`, "no plugins"},
		"hostile name": {"x.conflist", `{"name": "../../etc", "plugins": [{"type": "none"}]}`, "cannot be the name"},
		"no type":      {"x.conf", `{"name": "x"}`, "missing 'type'"},
		"bad subnet":   {"x.conflist", `{"name": "x", "plugins": [{"type": "bridge", "ipam": {"type": "host-local", "subnet": "10.0.0.0"}}]}`, `subnet "10.0.0.0"`},
		"second":       {"x.conflist", `{"name": "good", "plugins": [{"type": "none"}]}`, `"good" is in`},
		"no template":  {"x.config-only", `{"name": "x"}`, "configOnly"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := lay(t, map[string]string{
				"a.conflist": `{"name": "good", "plugins": [{"type": "none"}]}`, test.file: test.content,
			})
			ns := load(t, dir)
			if diff := cmp.Diff([]string{"good", "bridge", "host", "none"}, ns.names()); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
			if len(ns.Warnings) != 1 {
				t.Fatalf("warnings: got %v, want one", ns.Warnings)
			}
			for _, want := range []string{test.want, test.file} {
				if got := ns.Warnings[0].Error(); !strings.Contains(got, want) {
					t.Errorf("warning: got %q, want it to contain %q", got, want)
				}
			}
		})
	}
}

func TestLoadNothing(t *testing.T) {
	ns := load(t, filepath.Join(t.TempDir(), "absent"))
	if diff := cmp.Diff([]string{"bridge", "host", "none"}, ns.names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestForeignNetworks(t *testing.T) {
	dir := lay(t, map[string]string{
		"nerdctl-shop.conflist": `{"cniVersion": "1.0.0", "name": "shop",
			"nerdctlID": "8d9001d32c6a703d95921a77115050f33dd823d3f1730bd35215dcbecad6dc20", "nerdctlLabels": {"team": "shop"},
			"plugins": [{"type": "bridge", "bridge": "br-shop", "mtu": 1400, "ipam": {"type": "host-local",
				"ranges": [[{"subnet": "10.4.1.0/24", "gateway": "10.4.1.1"}], [{"subnet": "fd00::/64"}, {"subnet": "fd00::/64"}]]}}]}`,
		"87-podman.conflist": `{"cniVersion": "0.4.0", "name": "podman", "args": {"podman_labels": {"a": "b"}},
			"plugins": [{"type": "bridge"}]}`,
		"lan.conf": `{"name": "lan", "type": "macvlan", "master": "eth0", "mode": "bridge", "ipam": {"type": "dhcp"}}`,
	})
	ns := load(t, dir)
	shop, err := ns.Find("8d9001d32c6a")
	if err != nil {
		t.Fatal(err)
	}
	prefixes := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	addresses := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	if diff := cmp.Diff(IPAM{Driver: "default", Pools: []Pool{
		{Subnet: netip.MustParsePrefix("10.4.1.0/24"), Gateway: netip.MustParseAddr("10.4.1.1")},
		{Subnet: netip.MustParsePrefix("fd00::/64")},
	}}, shop.IPAM, prefixes, addresses); diff != "" {
		t.Errorf("IPAM of shop (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{
		"com.docker.network.bridge.name": "br-shop", "com.docker.network.driver.mtu": "1400",
	}, shop.Options); diff != "" {
		t.Errorf("options of shop (-want +got):\n%s", diff)
	}
	podman, _ := ns.named("podman")
	if !podman.HasLabel("a=b") || podman.HasLabel("a=c") || podman.Link != "cni0" || podman.ID != IDOf("podman") {
		t.Errorf("podman: got %+v", podman)
	}
	lan, _ := ns.named("lan")
	if lan.Driver != "macvlan" || lan.Link != "eth0" || lan.IPAM.Driver != "dhcp" || lan.Created.IsZero() {
		t.Errorf("lan: got %+v", lan)
	}
}

func TestPredefined(t *testing.T) {
	drivers := map[string]string{}
	for _, n := range predefined() {
		drivers[n.Name] = n.Driver
		if !n.Predefined() || n.File != "" || !n.Created.IsZero() {
			t.Errorf("%s: got %+v", n.Name, n)
		}
	}
	if diff := cmp.Diff(map[string]string{"bridge": "bridge", "host": "host", "none": "null"}, drivers); diff != "" {
		t.Errorf("drivers (-want +got):\n%s", diff)
	}
}

// TestForeignTypes: a key that another tool writes otherwise hides neither the network nor its subnet; one of fairway's own is named.
func TestForeignTypes(t *testing.T) {
	const ipam = `"ipam": {"type": "host-local", "subnet": "10.4.7.0/24"}`
	for name, text := range map[string]string{
		"nerdctl of 2021": `{"name": "n", "nerdctlID": 7, "plugins": [{"type": "bridge", ` + ipam + `}]}`,
		"labels":          `{"name": "n", "nerdctlLabels": {"a": 1}, "args": {"podman_labels": []}, "plugins": [{"type": "bridge", ` + ipam + `}]}`,
		"plugin's keys":   `{"name": "n", "plugins": [{"type": "other", "mtu": "1400", "master": ["eth0"], ` + ipam + `}]}`,
	} {
		ns := load(t, lay(t, map[string]string{"n.conflist": text}))
		if len(ns.Warnings) > 0 || len(ns.All[0].IPAM.Pools) != 1 || ns.All[0].Name != "n" {
			t.Errorf("%s: %+v, left out: %v", name, ns.All[0], ns.Warnings)
		}
	}
	ns := load(t, lay(t, map[string]string{"n.conflist": `{"name": "n", "nerdctlID": 7, "fairway": {"internal": "yes"}, "plugins": [{"type": "bridge"}]}`}))
	if len(ns.Warnings) != 1 || !strings.Contains(ns.Warnings[0].Error(), "internal") {
		t.Errorf("a key of fairway's: %v", ns.Warnings)
	}
}
