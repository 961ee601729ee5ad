package state_test

import (
	"errors"
	"os"
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestSysctl(t *testing.T) {
	k, container := statetest.NewPair(t)
	container.Sh(t, "ip", "link", "add", "a.b", "type", "bridge")
	for _, test := range []struct {
		sysctl state.Sysctl
		drift  string
	}{
		{state.Sysctl{In: state.Host, Key: "net/ipv4/ip_forward", Value: "1"}, "net.ipv4.ip_forward is 0 instead of 1"},
		{state.Sysctl{In: state.Container, Key: "net/ipv6/conf/a.b/keep_addr_on_down", Value: "1"}, "net.ipv6.conf.a.b.keep_addr_on_down is 0 instead of 1"},
	} {
		statetest.Drifts(t, container, test.sysctl, test.drift)
		statetest.Ensure(t, k, test.sysctl, true)
		statetest.Verifies(t, container, test.sysctl)
		statetest.Ensure(t, k, test.sysctl, false)
		statetest.Removes(t, container, test.sysctl)
		statetest.Verifies(t, container, test.sysctl) // others may rely on it
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
	if _, err := missing.Ensure(statetest.Open(t, nil)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Ensure: %v, want that it does not exist", err)
	}
	if err := missing.Verify(statetest.Open(t, nil)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Verify: %v, want that it does not exist", err)
	}
	if got, want := missing.String(), "sysctl -w net/ipv4/no_such=1"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWarning(t *testing.T) {
	logged := statetest.CaptureLog(t)
	testnet.NewHost(t)
	warning := state.Warning{Text: "mind the gap"}
	statetest.Ensure(t, statetest.Open(t, nil), warning, false)
	statetest.Verifies(t, nil, warning)
	statetest.Removes(t, nil, warning)
	statetest.Shows(t, logged.String(), "level=WARN", "mind the gap")
	if got := warning.String(); got != "# mind the gap" {
		t.Errorf("%q", got)
	}
}
