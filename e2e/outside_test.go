package e2e

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// The addresses of the uplink (RFC 5737, RFC 3849).
const (
	hostV4, outsideV4 = "198.51.100.1", "198.51.100.2"
	hostV6, outsideV6 = "2001:db8:ff::1", "2001:db8:ff::2"
)

// outside is a machine beyond the host's uplink. It has no route to any container, so that it can answer only to what is
// masqueraded.
type outside struct {
	ns *testnet.Namespace
}

// newOutside gives the host a default route, over a veth to a namespace.
func newOutside(t *testing.T) outside {
	t.Helper()
	o := outside{ns: testnet.NewNS(t, "outside")}
	succeed(t, command(t, "ip", "link", "add", "uplink", "type", "veth", "peer", "name", "eth0", "netns", o.ns.Path))
	t.Cleanup(func() { succeed(t, command(t, "ip", "link", "del", "uplink")) })

	succeed(t, command(t, "ip", "link", "set", "uplink", "up"))
	succeed(t, command(t, "ip", "addr", "add", hostV4+"/24", "dev", "uplink"))
	succeed(t, command(t, "ip", "addr", "add", hostV6+"/64", "dev", "uplink", "nodad"))
	succeed(t, command(t, "ip", "route", "add", "default", "via", outsideV4))
	succeed(t, command(t, "ip", "route", "add", "default", "via", outsideV6, "dev", "uplink"))

	succeed(t, commandIn(t, o.ns.Path, "ip", "link", "set", "lo", "up"))
	succeed(t, commandIn(t, o.ns.Path, "ip", "link", "set", "eth0", "up"))
	succeed(t, commandIn(t, o.ns.Path, "ip", "addr", "add", outsideV4+"/24", "dev", "eth0"))
	succeed(t, commandIn(t, o.ns.Path, "ip", "addr", "add", outsideV6+"/64", "dev", "eth0", "nodad"))
	return o
}

// mirrorPort answers each connection with the address it came from.
const mirrorPort = "7000"

// mirror starts the server that tells its clients their address.
func (o outside) mirror(t *testing.T) {
	t.Helper()
	serve(t, o.ns, mirrorPort, func(c net.Conn) string {
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String()) // an address of package net always has a port
		return host
	})
}

// serve answers connections to a port of a namespace with one string each, until the test ends.
func serve(t *testing.T, ns *testnet.Namespace, port string, answer func(net.Conn) string) {
	t.Helper()
	var listener net.Listener
	err := ns.Do(func() (err error) {
		listener, err = net.Listen("tcp", net.JoinHostPort("", port))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() }) // it has no state that could be lost
	go func() {
		for {
			conn, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = io.WriteString(conn, answer(conn)) // the client reports what is missing
				_ = conn.Close()
			}
		}
	}()
}

// ask connects from a namespace and gives back all that the server says.
func ask(ns *testnet.Namespace, host, port string) (answer string, err error) {
	err = ns.Do(func() error {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), 3*time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(3 * time.Second)) // a TCP connection has deadlines
		all, err := io.ReadAll(conn)
		answer = string(all)
		return err
	})
	return answer, err
}

// wantAnswer asks a server and compares.
func wantAnswer(t *testing.T, ns *testnet.Namespace, host, port, want string) {
	t.Helper()
	got, err := ask(ns, host, port)
	if err != nil {
		t.Errorf("%s port %s: %v", host, port, err)
	} else if got != want {
		t.Errorf("%s port %s: got %q, want %q", host, port, got, want)
	}
}

// wantMasqueraded expects the outside to see the host's addresses in place of those of the namespace.
func (o outside) wantMasqueraded(t *testing.T, ns *testnet.Namespace) {
	t.Helper()
	wantAnswer(t, ns, outsideV4, mirrorPort, hostV4)
	wantAnswer(t, ns, outsideV6, mirrorPort, hostV6)
}
