package statetest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/bridging"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// Outside4 is an address of the namespace that newOutside makes.
var Outside4 = netip.MustParseAddr("192.0.2.2")

// NewOutside gives the test's host a way to the outside: a namespace with 192.0.2.2 and fd99::2, which has no route back
// to the containers unless a test adds one. The host has 192.0.2.1 and fd99::1 there.
func NewOutside(t *testing.T) *testnet.Namespace {
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

// Guest is a container on a bridge with addresses and default routes.
type Guest struct {
	*testnet.Namespace
	Owner  state.Owner
	Bridge string
	v4, v6 netip.Prefix
}

// NewGuest attaches container number i to bridge number b, whose gateways are 10.b.0.1 and fdb0::1.
func NewGuest(t *testing.T, b, i int) Guest {
	t.Helper()
	name := fmt.Sprintf("g%d-%d", b, i)
	g := Guest{
		Namespace: testnet.NewNS(t, name), Owner: Owner(name), Bridge: fmt.Sprintf("br%d", b),
		v4: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(b), 0, byte(i)}), 24),
		v6: netip.MustParsePrefix(fmt.Sprintf("fd%02x::%x/64", 0xb0+b, i)),
	}
	bridge := g.Bridge
	gateway4, gateway6 := g.v4.Masked().Addr().Next(), g.v6.Masked().Addr().Next()
	Apply(t, Open(t, g.Namespace),
		bridging.Bridge{Name: bridge},
		bridging.Gateway{Link: bridge, Prefixes: []netip.Prefix{netip.PrefixFrom(gateway4, 24), netip.PrefixFrom(gateway6, 64)}},
		state.Sysctl{Key: "net/ipv4/ip_forward", Value: "1"},
		state.Sysctl{Key: "net/ipv6/conf/all/forwarding", Value: "1"},
		state.Veth{Owner: g.Owner, MAC: g.Owner.MAC(), Bridge: bridge},
		state.Address{In: state.Container, Link: "eth0", Prefix: g.v4},
		state.Address{In: state.Container, Link: "eth0", Prefix: g.v6},
		state.Route{In: state.Container, Link: "eth0", Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: gateway4},
		state.Route{In: state.Container, Link: "eth0", Dst: netip.MustParsePrefix("::/0"), Via: gateway6})
	return g
}

// Masquerade is the guest's object.
func (g Guest) Masquerade() ruleset.Masquerade {
	return ruleset.Masquerade{Owner: g.Owner, Link: g.Bridge, Prefixes: []netip.Prefix{g.v4, g.v6}}
}

// patience is how long a packet that should arrive may take; one that should not is waited for as long as forbearance.
const (
	Patience    = 10 * time.Second
	forbearance = 200 * time.Millisecond
)

// Source sends a datagram from one namespace to an address in another, and gives back the source that it has there, or
// the zero address when none arrives within the time.
func Source(t *testing.T, from, to *testnet.Namespace, addr netip.Addr, within time.Duration) netip.Addr {
	t.Helper()
	var server *net.UDPConn
	listen := func() (err error) {
		server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		return err
	}
	if err := to.Do(listen); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }() // a test ends with it
	for end := time.Now().Add(within); time.Now().Before(end); {
		if err := from.Do(func() error { return Send(server.LocalAddr().String()) }); err != nil {
			return netip.Addr{} // no route, or refused at once
		}
		// UDP is sent again: a datagram that waits for a neighbour may be dropped on a busy machine.
		if err := server.SetReadDeadline(time.Now().Add(min(within, time.Second))); err != nil {
			t.Fatal(err)
		}
		_, peer, err := server.ReadFromUDPAddrPort(make([]byte, 16))
		if err == nil {
			return peer.Addr().Unmap()
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	return netip.Addr{}
}

func Send(to string) error {
	client, err := net.Dial("udp", to)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	_, err = client.Write([]byte("ahoy"))
	return err
}

// Reaches expects a datagram to arrive, or not to.
func Reaches(t *testing.T, from, to *testnet.Namespace, addr netip.Addr, want bool) {
	t.Helper()
	within := Patience
	if !want {
		within = forbearance
	}
	if got := Source(t, from, to, addr, within).IsValid(); got != want {
		t.Errorf("from %s to %s: arrived %t, want %t", from.Path, addr, got, want)
	}
}

func MustAddr(text string) netip.Addr { return netip.MustParseAddr(text) }
