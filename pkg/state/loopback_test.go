package state_test

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestLoopback(t *testing.T) {
	k, container := statetest.NewPair(t)
	lo := state.Loopback()
	err := lo.Verify(statetest.Open(t, container))
	statetest.Fails(t, err, state.ErrDrift, "lo in the container's namespace is down")
	statetest.Fails(t, err, state.ErrDrift, "lo has no address 127.0.0.1/8")
	statetest.Apply(t, k, lo...)
	statetest.Shows(t, container.Sh(t, "ip", "addr", "show", "lo"), ",UP", "127.0.0.1/8", "::1/128")
	if err := lo.Verify(statetest.Open(t, container)); err != nil {
		t.Error(err)
	}
	if err := lo.Remove(statetest.Open(t, container)); err != nil {
		t.Error(err)
	}
	if err := lo.Verify(statetest.Open(t, container)); err != nil {
		t.Errorf("after Remove: %v, and others may use the namespace", err)
	}
	container.Sh(t, "ip", "addr", "del", "::1/128", "dev", "lo")
	statetest.Fails(t, lo.Verify(statetest.Open(t, container)), state.ErrDrift, "lo has no address ::1/128")
	statetest.Apply(t, statetest.Open(t, container), lo...)
	if err := lo.Verify(statetest.Open(t, container)); err != nil {
		t.Error(err)
	}
}

// Where IPv6 is off, ::1 is not missed.
func TestLoopbackWithoutIPv6(t *testing.T) {
	testnet.NewHost(t)
	container := testnet.NewNS(t, "c")
	container.Sh(t, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
	statetest.Apply(t, statetest.Open(t, container), state.Loopback()...)
	if err := state.Loopback().Verify(statetest.Open(t, container)); err != nil {
		t.Error(err)
	}
	statetest.Lacks(t, container.Sh(t, "ip", "addr", "show", "lo"), "::1")
}
