package state_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// outside4 is an address of the namespace that newOutside makes.
var outside4 = netip.MustParseAddr("192.0.2.2")

// newOutside gives the test's host a way to the outside: a namespace with 192.0.2.2 and fd99::2, which has no route back
// to the containers unless a test adds one. The host has 192.0.2.1 and fd99::1 there.
func newOutside(t *testing.T) *testnet.Namespace {
	t.Helper()
	outside := testnet.NewNS(t, "outside")
	testnet.Sh(t, "ip", "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", outside.Path)
	for _, addr := range []string{"192.0.2.1/24", "fd99::1/64"} {
		testnet.Sh(t, "ip", "addr", "add", addr, "dev", "up0", "nodad")
	}
	testnet.Sh(t, "ip", "link", "set", "up0", "up")
	for _, addr := range []string{"192.0.2.2/24", "fd99::2/64"} {
		outside.Sh(t, "ip", "addr", "add", addr, "dev", "eth0", "nodad")
	}
	outside.Sh(t, "ip", "link", "set", "eth0", "up")
	return outside
}

// guest is a container on a bridge with addresses and default routes.
type guest struct {
	*testnet.Namespace
	owner  state.Owner
	v4, v6 netip.Prefix
}

// newGuest attaches container number i to bridge number b, whose gateways are 10.b.0.1 and fdb0::1.
func newGuest(t *testing.T, b, i int) guest {
	t.Helper()
	name := fmt.Sprintf("g%d-%d", b, i)
	g := guest{
		Namespace: testnet.NewNS(t, name), owner: owner(name),
		v4: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(b), 0, byte(i)}), 24),
		v6: netip.MustParsePrefix(fmt.Sprintf("fd%02x::%x/64", 0xb0+b, i)),
	}
	bridge := fmt.Sprintf("br%d", b)
	gateway4, gateway6 := g.v4.Masked().Addr().Next(), g.v6.Masked().Addr().Next()
	apply(t, open(t, g.Namespace),
		state.Bridge{Name: bridge},
		state.Gateway{Link: bridge, Prefixes: []netip.Prefix{netip.PrefixFrom(gateway4, 24), netip.PrefixFrom(gateway6, 64)}},
		state.Sysctl{Key: "net/ipv4/ip_forward", Value: "1"},
		state.Sysctl{Key: "net/ipv6/conf/all/forwarding", Value: "1"},
		state.Veth{Owner: g.owner, MAC: g.owner.MAC(), Bridge: bridge},
		state.Address{In: state.Container, Link: "eth0", Prefix: g.v4},
		state.Address{In: state.Container, Link: "eth0", Prefix: g.v6},
		state.Route{In: state.Container, Link: "eth0", Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: gateway4},
		state.Route{In: state.Container, Link: "eth0", Dst: netip.MustParsePrefix("::/0"), Via: gateway6})
	return g
}

// masquerade is the guest's object.
func (g guest) masquerade() state.Masquerade {
	return state.Masquerade{Owner: g.owner, Prefixes: []netip.Prefix{g.v4, g.v6}}
}

// patience is how long a packet that should arrive may take; one that should not is waited for as long as forbearance.
const (
	patience    = 10 * time.Second
	forbearance = 200 * time.Millisecond
)

// source sends a datagram from one namespace to an address in another, and gives back the source that it has there, or
// the zero address when none arrives within the time.
func source(t *testing.T, from, to *testnet.Namespace, addr netip.Addr, within time.Duration) netip.Addr {
	t.Helper()
	var server *net.UDPConn
	listen := func() (err error) {
		server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		return err
	}
	if err := to.Do(listen); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if err := from.Do(func() error { return send(server.LocalAddr().String()) }); err != nil {
		return netip.Addr{} // no route, or refused at once
	}
	if err := server.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	_, peer, err := server.ReadFromUDPAddrPort(make([]byte, 16))
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return peer.Addr().Unmap()
}

func send(to string) error {
	client, err := net.Dial("udp", to)
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.Write([]byte("ahoy"))
	return err
}

// reaches expects a datagram to arrive, or not to.
func reaches(t *testing.T, from, to *testnet.Namespace, addr netip.Addr, want bool) {
	t.Helper()
	within := patience
	if !want {
		within = forbearance
	}
	if got := source(t, from, to, addr, within).IsValid(); got != want {
		t.Errorf("from %s to %s: arrived %t, want %t", from.Path, addr, got, want)
	}
}

func mustAddr(text string) netip.Addr { return netip.MustParseAddr(text) }
