package state_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// isGratuitousARP matches a broadcast by which an address is announced (RFC 5227, 3): sender and target are the same.
func isGratuitousARP(addr netip.Addr) func([]byte) bool {
	ip := addr.AsSlice()
	return func(f []byte) bool {
		return len(f) >= 42 && f[12] == 0x08 && f[13] == 0x06 && bytes.Equal(f[28:32], ip) && bytes.Equal(f[38:42], ip)
	}
}

// isUnsolicitedNA matches a neighbour advertisement to all nodes (RFC 4861, 7.2.6).
func isUnsolicitedNA(addr netip.Addr) func([]byte) bool {
	const ipv6, icmp, advertisement, target = 14, 54, 136, 62
	allNodes := netip.MustParseAddr("ff02::1").AsSlice()
	return func(f []byte) bool {
		return len(f) >= target+16 && f[12] == 0x86 && f[13] == 0xdd && f[icmp] == advertisement &&
			bytes.Equal(f[ipv6+24:ipv6+40], allNodes) && bytes.Equal(f[target:target+16], addr.AsSlice())
	}
}

// segment is a bridge with a neighbour that listens on it.
func segment(t *testing.T) *testnet.Capture {
	t.Helper()
	neighbour := testnet.NewNS(t, "n")
	apply(t, open(t, neighbour), state.Bridge{Name: "br0"}, state.Veth{Owner: owner("n"), Bridge: "br0"})
	return neighbour.Capture(t, "eth0")
}

// announced is container number i on the segment, and its announcement.
func announced(i int) (state.Set, state.Announce) {
	v4, v6 := netip.AddrFrom4([4]byte{10, 0, 0, byte(10 + i)}), netip.MustParseAddr(fmt.Sprintf("fd00::%d", 10+i))
	o := owner(fmt.Sprint(i))
	return state.Set{
		state.Veth{Owner: o, Bridge: "br0", MAC: o.MAC()},
		state.Address{In: state.Container, Link: "eth0", Prefix: netip.PrefixFrom(v4, 24)},
		state.Address{In: state.Container, Link: "eth0", Prefix: netip.PrefixFrom(v6, 64)},
	}, state.Announce{Link: "eth0", Addrs: []netip.Addr{v4, v6}}
}

func hears(t *testing.T, c *testnet.Capture, a state.Announce) {
	t.Helper()
	if !c.Await(t, time.Second, isGratuitousARP(a.Addrs[0])) {
		t.Errorf("no gratuitous ARP of %s", a.Addrs[0])
	}
	if !c.Await(t, time.Second, isUnsolicitedNA(a.Addrs[1])) {
		t.Errorf("no unsolicited neighbour advertisement of %s", a.Addrs[1])
	}
}

// The neighbours must hear of a container although it is announced right after its port was made.
func TestAnnounce(t *testing.T) {
	testnet.NewHost(t)
	neighbour := segment(t)
	for i := range 10 {
		container := testnet.NewNS(t, fmt.Sprint(i))
		set, announce := announced(i)
		apply(t, open(t, container), append(set, announce)...)
		hears(t, neighbour, announce)
		verifies(t, container, announce)
		removes(t, container, announce)
	}
}

// A link that carries nothing yet is waited for.
func TestAnnounceAwaitsCarrier(t *testing.T) {
	host := testnet.NewHost(t)
	neighbour := segment(t)
	container := testnet.NewNS(t, "c")
	set, announce := announced(1)
	apply(t, open(t, container), set...)
	port := owner("1").HostLink()
	testnet.Sh(t, "ip", "link", "set", port, "down")
	raised := make(chan error)
	go func() {
		time.Sleep(50 * time.Millisecond)
		raised <- host.Command("ip", "link", "set", port, "up").Run()
	}()
	ensure(t, open(t, container), announce, true)
	if err := <-raised; err != nil {
		t.Fatal(err)
	}
	hears(t, neighbour, announce)
}

// An announcement that cannot be made does not fail an ADD.
func TestAnnounceNeverFails(t *testing.T) {
	logged := captureLog(t)
	k, _ := newPair(t)
	ensure(t, k, state.Announce{Link: "eth0", Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}, false)
	ensure(t, k, state.Announce{Link: "eth0"}, false)
	shows(t, logged.String(), "level=WARN", "addresses not announced", "link=eth0")
}
