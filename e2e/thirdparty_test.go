package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestThirdPartyDriver: a plugin that this project knows nothing of, in fact upstream's bridge under a name of its own, is a
// driver like any other, with the options of its netconf.
func TestThirdPartyDriver(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	plugin := filepath.Join(pluginDir, "acme-switch")
	if err := os.Symlink(filepath.Join(root, ".tools", "bridge"), plugin); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(plugin); err != nil {
			t.Error(err)
		}
	})
	createNetwork(t, "--driver", "acme-switch", "-o", "bridge=acme0", "-o", "isGateway=true", "-o", "mtu=1400", "--subnet", "10.78.0.0/24", "third")
	t.Cleanup(func() { removeLink(t, "acme0") }) // what a plugin makes for all its containers, only that plugin knows

	if got := succeed(t, fairway(t, "ls", "--filter", "driver=acme-switch", "--format", "{{.Name}} {{.Driver}} {{.Scope}}")); got != "third acme-switch local\n" {
		t.Errorf("ls: got %q", got)
	}
	web, db := testnet.NewNS(t, "web"), testnet.NewNS(t, "db")
	succeed(t, fairway(t, "connect", "third", "netns:"+web.Path))
	succeed(t, fairway(t, "connect", "--ip", "10.78.0.20", "third", "netns:"+db.Path))
	ping(t, web.Path, "10.78.0.20")
	if mtu := strings.TrimSpace(db.Sh(t, "cat", "/sys/class/net/eth0/mtu")); mtu != "1400" {
		t.Errorf("MTU: got %s, want 1400", mtu)
	}
	if said := fail(t, fairway(t, "rm", "third")); !strings.Contains(said, "is in use by containers") {
		t.Errorf("rm of a network in use: got %q", said)
	}
	succeed(t, fairway(t, "disconnect", "third", "netns:"+web.Path))
	succeed(t, fairway(t, "disconnect", "third", "netns:"+db.Path))
	wantLinks(t, db, "lo")
	if said := fail(t, fairway(t, "create", "--driver", "acme-switch", "--internal", "inner")); !strings.Contains(said, "cannot honour internal") {
		t.Errorf("an option that another plugin may not have: got %q", said)
	}
}
