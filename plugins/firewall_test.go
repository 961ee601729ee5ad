package plugins

import (
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// TestFirewall: the container is admitted until DEL, which may come without anything that says what it had.
func TestFirewall(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c")).with("ipMasq", nil).with("macspoofchk", nil)
	firewall := a.behind(a.add(t), "firewall", map[string]any{"ingressPolicy": "same-bridge"})
	firewall = firewall.after(firewall.add(t))
	firewall.succeed(t, "CHECK")
	if diff := cmp.Diff([]string{"fairway net c eth0"}, a.elements(t)); diff != "" {
		t.Errorf("elements (-want +got):\n%s", diff)
	}
	firewall.with("prevResult", nil).withEnv("CNI_NETNS", "").succeed(t, "DEL")
	if got := firewall.fail(t, "CHECK", 100); !strings.Contains(got, `nftables set admitted4 has no element of "fairway net c eth0"`) {
		t.Errorf("CHECK says %q", got)
	}
	firewall.add(t)
	firewall.gcCall().with("cni.dev/valid-attachments", alive("x")).succeed(t, "GC")
	if got := a.elements(t); len(got) > 0 {
		t.Errorf("elements after GC: %v", got)
	}
}

// TestFirewallWithoutABridge: a policy needs one.
func TestFirewallWithoutABridge(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c"))
	result := a.add(t)
	result.Interfaces = result.Interfaces[2:]
	result.IPs[0].Interface = nil
	wantText(t, "sentence", "key ingressPolicy needs a bridge in the result of the plugin before, which is absent from the host: "+
		"name firewall behind bridge, or leave it out", a.behind(result, "firewall", map[string]any{"ingressPolicy": "isolated"}).fail(t, "ADD", 7))
	a.behind(result, "firewall", nil).add(t)
}

// TestFirewallVersion is the line by which nerdctl tells whether the plugin knows ingressPolicy.
func TestFirewallVersion(t *testing.T) {
	got := attachment{host: testnet.NewNS(t, "host"), plugin: "firewall"}.runWith(t, "", "")
	if !strings.Contains(got.stderr, "\nCNI firewall plugin v1.9.1\n") {
		t.Errorf("standard error: %q", got.stderr)
	}
}
