package plugins

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// upstream is the plugin of the same name that scripts/install-test-tools installs.
func upstream(t *testing.T, plugin string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", ".tools", plugin))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("run scripts/install-test-tools first: %v", err)
	}
	return path
}

// TestDelOfAnUpstreamAttachment: a host changes its suite while containers run.
func TestDelOfAnUpstreamAttachment(t *testing.T) {
	for _, tt := range []struct{ name, ipam string }{{"layer 3", "host-local"}, {"layer 2", ""}} {
		t.Run(tt.name, func(t *testing.T) {
			a := bridgeOn(t, testnet.NewNS(t, "c")).with("cniVersion", "1.0.0").
				with("ipMasq", nil).with("macspoofchk", nil).withEnv("CNI_PATH", filepath.Dir(upstream(t, "host-local")))
			if tt.ipam == "" {
				a = a.with("ipam", nil)
			}
			theirs := a
			theirs.plugin = upstream(t, "bridge")
			result := theirs.add(t)
			a.after(result).succeed(t, "DEL")
			a.wantGone(t)
		})
	}
}

// TestTurnsWithUpstream: both suites serve one bridge and one directory.
func TestTurnsWithUpstream(t *testing.T) {
	ours := bridgeOn(t, testnet.NewNS(t, "a")).with("cniVersion", "1.0.0").with("ipMasq", nil).
		withEnv("CNI_PATH", filepath.Dir(upstream(t, "host-local")))
	theirs := ours.with("macspoofchk", nil).on(testnet.NewNS(t, "b"), "eth0")
	theirs.plugin = upstream(t, "bridge")
	third := ours.on(testnet.NewNS(t, "d"), "eth0")
	for _, a := range []attachment{ours, theirs, third} {
		a.add(t)
	}
	want := []string{"10.1.0.2 a\r\neth0", "10.1.0.3 b\r\neth0", "10.1.0.4 d\r\neth0"}
	if diff := cmp.Diff(want, ours.reservations(t)); diff != "" {
		t.Errorf("reservations (-want +got):\n%s", diff)
	}
	for _, a := range []attachment{third, theirs, ours} {
		a.succeed(t, "DEL")
	}
	ours.wantGone(t)
}

// TestHostLocalForUpstream: upstream's bridge executes our host-local.
func TestHostLocalForUpstream(t *testing.T) {
	container := testnet.NewNS(t, "c")
	a := bridgeOn(t, container).with("cniVersion", "1.0.0").with("ipMasq", nil).with("macspoofchk", nil)
	a.plugin = upstream(t, "bridge")
	a = a.after(a.add(t))
	if diff := cmp.Diff([]string{"10.1.0.2 c\r\neth0"}, a.reservations(t)); diff != "" {
		t.Errorf("reservations (-want +got):\n%s", diff)
	}
	a.succeed(t, "CHECK")
	a.succeed(t, "DEL")
	a.wantGone(t)
}
