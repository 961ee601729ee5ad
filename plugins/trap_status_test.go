package plugins

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// statusCall is a STATUS, which comes without a container.
func (a attachment) statusCall() attachment { return a.gcCall() }

func TestStatus(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c")).statusCall().withEnv("CNI_PATH", "")
	before := a.traces(t)
	a.succeed(t, "STATUS")
	a.plugin = "host-local"
	a.succeed(t, "STATUS")
	a.plugin = "none"
	a.with("ipam", nil).succeed(t, "STATUS")
	a.wantUnchanged(t, before)
}

// warns expects a STATUS that succeeds, with a warning: it is about the plugin, not about one more container.
func (a attachment) warns(t *testing.T, text string) {
	t.Helper()
	got := a.run(t, "STATUS")
	if got.code != 0 || got.stdout != "" || !strings.Contains(got.stderr, text) {
		t.Errorf("exit status %d, standard output %q, standard error %q, want the warning %q", got.code, got.stdout, got.stderr, text)
	}
}

func TestStatusOfAnExhaustedRange(t *testing.T) {
	container := testnet.NewNS(t, "c")
	a := bridgeOn(t, container).withIPAM("ranges", [][]map[string]string{{{"subnet": "10.1.0.0/30"}}})
	a.add(t)
	const full = "range set 0 (10.1.0.1-10.1.0.2) has no free address, all 1 are reserved: " +
		"let GC release those of containers that are gone, or configure a larger range"
	a.statusCall().warns(t, full)
	a.plugin = "host-local"
	a.statusCall().warns(t, full)
	a.succeed(t, "DEL")
	a.statusCall().succeed(t, "STATUS")
}

// TestStatusPassesADelegateOn: 51 stays; anything else means that ADD would fail; mistakes keep their code.
func TestStatusPassesADelegateOn(t *testing.T) {
	for _, tt := range []struct {
		answer string
		want   uint
	}{
		{`{"cniVersion": "1.1.0", "code": 50, "msg": "delegate"}`, 50},
		{`{"cniVersion": "1.1.0", "code": 51, "msg": "delegate"}`, 51},
		{`{"cniVersion": "1.1.0", "code": 7, "msg": "delegate"}`, 7},
		{`{"cniVersion": "1.1.0", "code": 5, "msg": "delegate"}`, 50},
		{`{"cniVersion": "1.1.0", "msg": "delegate"}`, 50},
	} {
		t.Run(tt.answer, func(t *testing.T) {
			a, d := bridgeOn(t, testnet.NewNS(t, "c")).delegated(t)
			a.statusCall().succeed(t, "STATUS")
			d.answer(t, "STATUS.error", tt.answer)
			wantText(t, "sentence", "IPAM plugin recorder: delegate", a.statusCall().fail(t, "STATUS", tt.want))
			d.wantCalls(t, "STATUS", "STATUS")
		})
	}
}

// TestStatusWarnsOfAFirewall that may drop what the host forwards: ADD works, so that STATUS does.
func TestStatusWarnsOfAFirewall(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c")).statusCall()
	a.host.Sh(t, "iptables", "-P", "FORWARD", "DROP")
	for _, tt := range []struct {
		of   attachment
		want bool
	}{{a, true}, {a.with("internal", true), false}, {a.with("isDefaultGateway", nil), false}} {
		got := tt.of.run(t, "STATUS")
		if got.code != 0 || got.stdout != "" {
			t.Errorf("exit status %d, standard output %q", got.code, got.stdout)
		}
		if strings.Contains(got.stderr, "iptables -I FORWARD -i br0 -j ACCEPT") != tt.want {
			t.Errorf("standard error %q, want the remedy %t", got.stderr, tt.want)
		}
	}
}

func TestStatusOfABridgeThatIsNone(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c"))
	a.host.Sh(t, "ip", "link", "add", "br0", "type", "veth", "peer", "name", "br0-peer")
	a.statusCall().fail(t, "STATUS", 50)
}

// TestStatusWithoutNftables takes the capability away by which nftables and rtnetlink are used.
func TestStatusWithoutNftables(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c"))
	a.plugin = withoutCapability(t, a.plugin)
	if said := a.statusCall().fail(t, "STATUS", 50); !strings.Contains(said, "nftables") {
		t.Errorf("sentence: got %q, want it to name nftables", said)
	}
}

// withoutCapability is a plugin that runs without CAP_NET_ADMIN.
func withoutCapability(t *testing.T, plugin string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), plugin)
	script := "#!/bin/sh\nexec setpriv --bounding-set=-net_admin --inh-caps=-net_admin " + filepath.Join(binDir, plugin) + "\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
