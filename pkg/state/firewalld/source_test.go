package firewalld_test

import (
	"net/netip"
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/firewalld"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestMain(m *testing.M) { testnet.Run(m) }

// TestAbsent: whoever insists on firewalld is told that it does not run; whoever does not, needs none.
func TestAbsent(t *testing.T) {
	testnet.NewHost(t)
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+t.TempDir()+"/none")
	s := firewalld.Source{Owner: statetest.Owner("a"), Zone: "trusted", Addrs: []netip.Addr{netip.MustParseAddr("10.1.0.2")}}
	for _, s.Mode = range []firewalld.Mode{firewalld.WhereItRuns, firewalld.Never} {
		statetest.Ensure(t, statetest.Open(t, nil), s, false)
		statetest.Verifies(t, nil, s)
		statetest.Removes(t, nil, s)
	}
	s.Mode = firewalld.Always
	_, err := s.Ensure(statetest.Open(t, nil))
	statetest.Fails(t, err, state.ErrAbsent, "firewalld is absent from the host: start it, or leave out key backend")
	statetest.Fails(t, s.Ready(statetest.Open(t, nil)), state.ErrAbsent, "")
}
