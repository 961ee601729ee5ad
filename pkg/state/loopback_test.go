package state_test

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestLoopback(t *testing.T) {
	k, container := newPair(t)
	lo := state.Loopback()
	err := lo.Verify(open(t, container))
	fails(t, err, state.ErrDrift, "lo in the container's namespace is down")
	fails(t, err, state.ErrDrift, "lo has no address 127.0.0.1/8")
	apply(t, k, lo...)
	shows(t, container.Sh(t, "ip", "addr", "show", "lo"), ",UP", "127.0.0.1/8", "::1/128")
	if err := lo.Verify(open(t, container)); err != nil {
		t.Error(err)
	}
	if err := lo.Remove(open(t, container)); err != nil {
		t.Error(err)
	}
	if err := lo.Verify(open(t, container)); err != nil {
		t.Errorf("after Remove: %v, and others may use the namespace", err)
	}
	container.Sh(t, "ip", "addr", "del", "::1/128", "dev", "lo")
	fails(t, lo.Verify(open(t, container)), state.ErrDrift, "lo has no address ::1/128")
	apply(t, open(t, container), lo...)
	if err := lo.Verify(open(t, container)); err != nil {
		t.Error(err)
	}
}

// Where IPv6 is off, ::1 is not missed.
func TestLoopbackWithoutIPv6(t *testing.T) {
	testnet.NewHost(t)
	container := testnet.NewNS(t, "c")
	container.Sh(t, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
	apply(t, open(t, container), state.Loopback()...)
	if err := state.Loopback().Verify(open(t, container)); err != nil {
		t.Error(err)
	}
	lacks(t, container.Sh(t, "ip", "addr", "show", "lo"), "::1")
}
