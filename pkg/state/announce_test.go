package state_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/bridging"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// segment is a bridge with a neighbour that listens on it.
func segment(t *testing.T) *testnet.Capture {
	t.Helper()
	neighbour := testnet.NewNS(t, "n")
	statetest.Apply(t, statetest.Open(t, neighbour), bridging.Bridge{Name: "br0"}, state.Veth{Owner: statetest.Owner("n"), Bridge: "br0"})
	return neighbour.Capture(t, "eth0")
}

// announced is container number i on the segment, and its announcement.
func announced(i int) (state.Set, state.Announce) {
	v4, v6 := netip.AddrFrom4([4]byte{10, 0, 0, byte(10 + i)}), netip.MustParseAddr(fmt.Sprintf("fd00::%d", 10+i))
	o := statetest.Owner(fmt.Sprint(i))
	return state.Set{
		state.Veth{Owner: o, Bridge: "br0", MAC: o.MAC()},
		state.Address{In: state.Container, Link: "eth0", Prefix: netip.PrefixFrom(v4, 24)},
		state.Address{In: state.Container, Link: "eth0", Prefix: netip.PrefixFrom(v6, 64)},
	}, state.Announce{Link: "eth0", Addrs: []netip.Addr{v4, v6}}
}

// The neighbours must hear of a container although it is announced right after its port was made.
func TestAnnounce(t *testing.T) {
	testnet.NewHost(t)
	neighbour := segment(t)
	for i := range 10 {
		container := testnet.NewNS(t, fmt.Sprint(i))
		set, announce := announced(i)
		statetest.Apply(t, statetest.Open(t, container), append(set, announce)...)
		statetest.Hears(t, neighbour, announce)
		statetest.Verifies(t, container, announce)
		statetest.Removes(t, container, announce)
	}
}

// A link that carries nothing yet is waited for.
func TestAnnounceAwaitsCarrier(t *testing.T) {
	host := testnet.NewHost(t)
	neighbour := segment(t)
	container := testnet.NewNS(t, "c")
	set, announce := announced(1)
	statetest.Apply(t, statetest.Open(t, container), set...)
	port := statetest.Owner("1").HostLink()
	testnet.Sh(t, "ip", "link", "set", port, "down")
	raised := make(chan error)
	go func() {
		time.Sleep(50 * time.Millisecond)
		raised <- host.Command("ip", "link", "set", port, "up").Run()
	}()
	statetest.Ensure(t, statetest.Open(t, container), announce, true)
	if err := <-raised; err != nil {
		t.Fatal(err)
	}
	statetest.Hears(t, neighbour, announce)
}

// An announcement that cannot be made does not fail an ADD.
func TestAnnounceNeverFails(t *testing.T) {
	logged := statetest.CaptureLog(t)
	k, _ := statetest.NewPair(t)
	statetest.Ensure(t, k, state.Announce{Link: "eth0", Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}, false)
	statetest.Ensure(t, k, state.Announce{Link: "eth0"}, false)
	statetest.Shows(t, logged.String(), "level=WARN", "addresses not announced", "link=eth0")
}

// What nobody had is announced where somebody may remember it all the same: on a bridge of others.
func TestAnnounceFirst(t *testing.T) {
	testnet.NewHost(t)
	neighbour := segment(t)
	for i, test := range []struct {
		first, foreign, heard bool
	}{{true, false, false}, {false, false, true}, {true, true, true}} {
		if test.foreign {
			testnet.Sh(t, "ip", "link", "set", "br0", "address", "02:00:00:00:00:77")
		}
		set, announce := announced(i)
		announce.First, announce.Bridge = test.first, "br0"
		statetest.Apply(t, statetest.Open(t, testnet.NewNS(t, fmt.Sprint(i))), append(set, announce)...)
		if test.heard {
			statetest.Hears(t, neighbour, announce)
		} else {
			statetest.HearsNothing(t, neighbour, announce)
		}
	}
}
