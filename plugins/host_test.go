package plugins

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// bridgeOn is an attachment to a network called net, on a host of its own, with a gateway, masquerade and spoof check, so
// that there is something of each kind to leave behind.
func bridgeOn(t *testing.T, container *testnet.Namespace) attachment {
	t.Helper()
	a := attachment{
		host: testnet.NewNS(t, "host"), plugin: "bridge", env: map[string]string{"CNI_PATH": binDir},
		conf: map[string]any{
			"cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0", "isDefaultGateway": true,
			"ipMasq": true, "macspoofchk": true,
			"ipam": hostLocal(t.TempDir(), "10.1.0.0/24"),
		},
	}
	return a.on(container, "eth0")
}

// hostLocal is the key ipam of a network with one range set for each subnet.
func hostLocal(dataDir string, subnets ...string) map[string]any {
	var ranges [][]map[string]string
	for _, s := range subnets {
		ranges = append(ranges, []map[string]string{{"subnet": s}})
	}
	return map[string]any{"type": "host-local", "dataDir": dataDir, "ranges": ranges}
}

// withIPAM gives the attachment another key of ipam.
func (a attachment) withIPAM(key string, value any) attachment {
	ipam := make(map[string]any)
	for k, v := range a.conf["ipam"].(map[string]any) {
		ipam[k] = v
	}
	ipam[key] = value
	return a.with("ipam", ipam)
}

// traces is what an attachment can leave behind.
type traces struct {
	Host, Container, Reservations []string
	Rules                         string
}

// traces looks at everything that calls for the attachment can have made.
func (a attachment) traces(t *testing.T) traces {
	t.Helper()
	found := traces{Host: links(t, a.host), Rules: elements(a.host.Sh(t, "nft", "list", "ruleset")), Reservations: a.reservations(t)}
	if path := a.env["CNI_NETNS"]; strings.HasPrefix(path, "/run/netns/") {
		if _, err := os.Stat(path); err == nil {
			container := &testnet.Namespace{Path: path}
			found.Container = append(links(t, container), sbrRules(t, container)...)
		}
	}
	return found
}

// elements are the lines of a ruleset that are about networks and attachments: a table that stands filters nobody else.
func elements(ruleset string) string {
	var found []string
	for line := range strings.Lines(ruleset) {
		if strings.Contains(line, `comment "fairway`) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return strings.Join(found, "\n")
}

// wantUnchanged compares what is there with what was.
func (a attachment) wantUnchanged(t *testing.T, before traces) {
	t.Helper()
	if diff := cmp.Diff(before, a.traces(t)); diff != "" {
		t.Errorf("left behind (-before +after):\n%s", diff)
	}
}

// reservations are the files of host-local that are named after an address, with their owners.
func (a attachment) reservations(t *testing.T) []string {
	t.Helper()
	ipam, _ := a.conf["ipam"].(map[string]any)
	dataDir, _ := ipam["dataDir"].(string)
	network, _ := a.conf["name"].(string)
	entries, err := os.ReadDir(filepath.Join(dataDir, network))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var found []string
	for _, entry := range entries {
		if _, err := netip.ParseAddr(entry.Name()); err == nil {
			owner, err := os.ReadFile(filepath.Join(dataDir, network, entry.Name()))
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, entry.Name()+" "+string(owner))
		}
	}
	return found
}

// links are the names of a namespace's links, sorted.
func links(t *testing.T, n *testnet.Namespace) []string {
	t.Helper()
	var list []struct{ IfName string }
	decodeShown(t, n, &list, "link")
	var names []string
	for _, link := range list {
		names = append(names, link.IfName)
	}
	slices.Sort(names)
	return names
}

// decodeShown reads what ip shows.
func decodeShown(t *testing.T, n *testnet.Namespace, into any, args ...string) {
	t.Helper()
	shown := n.Sh(t, "ip", append([]string{"-json", "-details"}, args...)...)
	if shown == "" {
		return // as ip shows that there is nothing
	}
	if err := json.Unmarshal([]byte(shown), into); err != nil {
		t.Fatalf("ip %v: %v\n%s", args, err, shown)
	}
}
