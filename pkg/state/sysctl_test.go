package state_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestSysctl(t *testing.T) {
	k, container := newPair(t)
	container.Sh(t, "ip", "link", "add", "a.b", "type", "bridge")
	for _, test := range []struct {
		sysctl state.Sysctl
		drift  string
	}{
		{state.Sysctl{In: state.Host, Key: "net/ipv4/ip_forward", Value: "1"}, "net.ipv4.ip_forward is 0 instead of 1"},
		{state.Sysctl{In: state.Container, Key: "net/ipv6/conf/a.b/keep_addr_on_down", Value: "1"}, "net.ipv6.conf.a.b.keep_addr_on_down is 0 instead of 1"},
	} {
		drifts(t, container, test.sysctl, test.drift)
		ensure(t, k, test.sysctl, true)
		verifies(t, container, test.sysctl)
		ensure(t, k, test.sysctl, false)
		removes(t, container, test.sysctl)
		verifies(t, container, test.sysctl) // others may rely on it
	}
	if got := testnet.Sh(t, "sysctl", "-n", "net.ipv6.conf.all.keep_addr_on_down"); got != "0" {
		t.Error("the container's parameter was set on the host")
	}
	if got := container.Sh(t, "sysctl", "-n", "net.ipv4.ip_forward"); got != "0" {
		t.Error("the host's parameter was set in the container")
	}
}

func TestSysctlMissing(t *testing.T) {
	testnet.NewHost(t)
	missing := state.Sysctl{In: state.Host, Key: "net/ipv4/no_such", Value: "1"}
	if _, err := missing.Ensure(open(t, nil)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Ensure: %v, want that it does not exist", err)
	}
	if err := missing.Verify(open(t, nil)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Verify: %v, want that it does not exist", err)
	}
	if got, want := missing.String(), "sysctl -w net/ipv4/no_such=1"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWarning(t *testing.T) {
	logged := captureLog(t)
	testnet.NewHost(t)
	warning := state.Warning{Text: "mind the gap"}
	ensure(t, open(t, nil), warning, false)
	verifies(t, nil, warning)
	removes(t, nil, warning)
	shows(t, logged.String(), "level=WARN", "mind the gap")
	if got := warning.String(); got != "# mind the gap" {
		t.Errorf("%q", got)
	}
}

// captureLog gives a test what is logged while it runs.
func captureLog(t *testing.T) *bytes.Buffer {
	t.Helper()
	var logged bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&logged, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return &logged
}
