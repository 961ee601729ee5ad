package plugins

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// TestReadmeExample runs what the READMEs show.
func TestReadmeExample(t *testing.T) {
	for _, plugin := range []string{"bridge", "host", "macvlan", "none", "overlay-vxlan", "ptp"} {
		t.Run(plugin, func(t *testing.T) {
			var list struct {
				CNIVersion, Name string
				Plugins          []map[string]any
			}
			if err := json.Unmarshal(example(t, plugin), &list); err != nil {
				t.Fatal(err)
			}
			a := bridgeOn(t, testnet.NewNS(t, "c"))
			a.plugin, a.conf = plugin, maps.Clone(list.Plugins[0])
			a.conf["cniVersion"], a.conf["name"] = list.CNIVersion, list.Name
			switch plugin {
			case "bridge", "ptp":
				a = a.withIPAM("dataDir", t.TempDir())
			case "macvlan":
				a.host.Sh(t, "ip", "link", "add", "eth0", "up", "type", "bridge")
				a = a.withIPAM("dataDir", t.TempDir())
			case "overlay-vxlan":
				a.host.Sh(t, "ip", "link", "add", "eth0", "up", "type", "bridge")
				a.host.Sh(t, "ip", "addr", "add", "192.0.2.11/24", "dev", "eth0")
				a = a.with("ipam", map[string]any{"dataDir": t.TempDir()})
			case "host":
				a = a.withEnv("CNI_NETNS", a.host.Path)
			}
			a = a.after(a.add(t))
			a.succeed(t, "CHECK")
			a.succeed(t, "DEL")
		})
	}
}

// TestReadmeExampleOfAChain runs the whole list, with the runtime's capabilities that its plugins declare.
func TestReadmeExampleOfAChain(t *testing.T) {
	for _, plugin := range chained {
		t.Run(plugin, func(t *testing.T) {
			var list struct {
				CNIVersion, Name string
				Plugins          []map[string]any
			}
			if err := json.Unmarshal(example(t, plugin), &list); err != nil {
				t.Fatal(err)
			}
			first := bridgeOn(t, testnet.NewNS(t, "c"))
			first.conf = maps.Clone(list.Plugins[0])
			first.conf["cniVersion"], first.conf["name"] = list.CNIVersion, list.Name
			first = first.withIPAM("dataDir", t.TempDir())
			if last := list.Plugins[len(list.Plugins)-1]["type"]; len(list.Plugins) != 2 || last != plugin {
				t.Fatalf("the example ends with %v", last)
			}
			second := first.behind(first.add(t), plugin, list.Plugins[1]).with("runtimeConfig", capabilities)
			result := second.add(t)
			first.after(result).succeed(t, "CHECK")
			second = second.after(result)
			second.succeed(t, "CHECK")
			second.succeed(t, "DEL")
			first.after(result).succeed(t, "DEL")
		})
	}
}

// capabilities is what a runtime may give for one container.
var capabilities = map[string]any{
	"mac":          "02:00:00:00:00:01",
	"portMappings": []map[string]any{{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}},
	"bandwidth":    map[string]any{"ingressRate": 8000000, "ingressBurst": 800000, "egressRate": 8000000, "egressBurst": 800000},
}

func TestReadmeExampleOfHostLocal(t *testing.T) {
	var ipam map[string]any
	if err := json.Unmarshal(example(t, "host-local"), &ipam); err != nil {
		t.Fatal(err)
	}
	a := bridgeOn(t, testnet.NewNS(t, "c")).with("ipam", ipam).withIPAM("dataDir", t.TempDir())
	a.plugin = "host-local"
	a = a.after(a.add(t))
	a.succeed(t, "CHECK")
	a.succeed(t, "DEL")
}

func example(t *testing.T, plugin string) []byte {
	t.Helper()
	found := regexp.MustCompile("(?s)```json\n(.*?)```").FindSubmatch(readme(t, plugin))
	if found == nil {
		t.Fatalf("no example in the README of %s", plugin)
	}
	return found[1]
}

// TestReadmeSections: all READMEs have the same.
func TestReadmeSections(t *testing.T) {
	want := []string{"Name", "Description", "Configuration", "Example", "Result", "See also"}
	for _, plugin := range append([]string{"bridge", "host", "macvlan", "none", "overlay-vxlan", "host-local", "static", "ptp"}, chained...) {
		var got []string
		for line := range strings.Lines(string(readme(t, plugin))) {
			if title, ok := strings.CutPrefix(line, "## "); ok {
				got = append(got, strings.TrimSpace(title))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("sections of %s (-want +got):\n%s", plugin, diff)
		}
	}
}

// TestReadmeNamesEveryKey that a mode reads.
func TestReadmeNamesEveryKey(t *testing.T) {
	for _, plugin := range append([]string{"bridge", "macvlan", "ptp"}, chained...) {
		source, err := os.ReadFile(filepath.Join(plugin, "conf.go"))
		if err != nil {
			t.Fatal(err)
		}
		text := string(readme(t, plugin))
		declared, _, _ := strings.Cut(string(source), "IPAM struct")
		declared, _, _ = strings.Cut(declared, "RuntimeConfig struct")
		for _, key := range regexp.MustCompile("`json:\"(.+?)\"`").FindAllStringSubmatch(declared, -1) {
			if !strings.Contains(text, "\n| `"+key[1]+"` | ") {
				t.Errorf("the README of %s does not name key %s", plugin, key[1])
			}
		}
	}
}

func readme(t *testing.T, plugin string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(plugin, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
