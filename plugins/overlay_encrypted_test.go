package plugins

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/fairway-cni/fairway/pkg/wgkey"
)

// TestOverlayEncryptedByTheKernel: without a node agent, a network is encrypted by the kernel's WireGuard, and by nothing else. Where
// there is none, ADD says so and leaves nothing.
func TestOverlayEncryptedByTheKernel(t *testing.T) {
	u := newUnderlay(t, false)
	h1 := u.host(t, 1)
	var peers []map[string]any
	file := filepath.Join(t.TempDir(), "1.key")
	for i, p := range u.peers(2) {
		path := file
		if i > 0 {
			path = filepath.Join(t.TempDir(), "2.key")
		}
		key, err := wgkey.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		p["publicKey"] = key.Public().String()
		peers = append(peers, p)
	}
	a := overlayOn(t, u, h1, testnet.NewNS(t, "c")).with("encrypted", true).with("privateKeyFile", file).with("peers", peers)
	if hasWireguard(h1) {
		a.succeed(t, "ADD")
		a.succeed(t, "DEL")
		return
	}
	before := a.traces(t)
	if sentence := a.fail(t, "ADD", 7); !strings.Contains(sentence, "WireGuard (CONFIG_WIREGUARD) is not supported by the running kernel") || !strings.Contains(sentence, "fairwayd alone can encrypt networks") {
		t.Errorf("sentence %q", sentence)
	}
	after := a.traces(t)
	if strings.Contains(after.Rules, "comment") {
		t.Errorf("rules are left:\n%s", after.Rules)
	}
	if left := h1.Sh(t, "sh", "-c", "ip -o link; ip route; ip -6 route"); strings.Contains(left, "fwwg") || strings.Contains(left, "10.42.") || strings.Contains(left, "fd42:") {
		t.Errorf("left:\n%s", left)
	}
	if len(after.Host) != len(before.Host) {
		t.Errorf("links on the host: %v before, %v after", before.Host, after.Host)
	}
}

// hasWireguard says whether the kernel can make such a device.
func hasWireguard(host *testnet.Namespace) bool {
	run := func(args ...string) error { return host.Command("ip", args...).Run() }
	if run("link", "add", "probe", "type", "wireguard") != nil {
		return false
	}
	return run("link", "del", "probe") == nil
}
