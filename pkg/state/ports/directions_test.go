package ports_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/state/ports"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// world is a host with a container on bridge br1 that serves, a neighbour there, another on br2, and the outside.
type world struct {
	server, neighbour, stranger statetest.Guest
	outside                     *testnet.Namespace
	host                        *testnet.Namespace
}

// newWorld raises it, with a server on TCP and UDP that answers with the address it is asked from.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{host: testnet.NewHost(t)}
	testnet.Sh(t, "ip", "link", "set", "lo", "up")
	w.outside = statetest.NewOutside(t)
	w.outside.Sh(t, "ip", "route", "add", "default", "via", "192.0.2.1")
	w.outside.Sh(t, "ip", "route", "add", "default", "via", "fd99::1")
	w.server, w.neighbour, w.stranger = statetest.NewGuest(t, 1, 2), statetest.NewGuest(t, 1, 3), statetest.NewGuest(t, 2, 2)
	for _, g := range []statetest.Guest{w.server, w.neighbour, w.stranger} {
		statetest.Apply(t, statetest.Open(t, g.Namespace), g.Masquerade())
	}
	serve(t, w.server.Namespace)
	return w
}

// serve answers on TCP and UDP with the address of who asks, until the test ends.
func serve(t *testing.T, n *testnet.Namespace) {
	t.Helper()
	for _, family := range []string{"4", "6"} {
		any := map[string]string{"4": "0.0.0.0:80", "6": "[::]:80"}[family]
		var tcp net.Listener
		var udp net.PacketConn
		if err := n.Do(func() (err error) {
			if tcp, err = net.Listen("tcp"+family, any); err == nil {
				udp, err = net.ListenPacket("udp"+family, any)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = tcp.Close(), udp.Close() })
		go serveTCP(tcp)
		go serveUDP(udp)
	}
}

func serveTCP(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		_, _ = c.Write([]byte(host))
		_ = c.Close()
	}
}

func serveUDP(c net.PacketConn) {
	for buffer := make([]byte, 64); ; {
		_, from, err := c.ReadFrom(buffer)
		if err != nil {
			return
		}
		host, _, _ := net.SplitHostPort(from.String())
		_, _ = c.WriteTo([]byte(host), from)
	}
}

// ask gives the address that the server saw, or "" when nothing answered.
func ask(t *testing.T, from *testnet.Namespace, network, to string, patience time.Duration) string {
	t.Helper()
	answer := make([]byte, 64)
	length := 0
	err := from.Do(func() error {
		c, err := net.DialTimeout(network, to, patience)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		if network == "udp" {
			_, _ = c.Write([]byte("?"))
		}
		length, err = c.Read(answer)
		return err
	})
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, unix.ECONNREFUSED) && !isTimeout(err) {
		t.Logf("%s %s: %v", network, to, err)
	}
	return string(answer[:length])
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// TestDirections: who reaches a published port by which address of the host, and as whom the server sees them. docs/ports.md has
// the table.
func TestDirections(t *testing.T) {
	const none = ""
	for _, tt := range []struct {
		name   string
		hostIP string
		// Who asks, by which address, and the source that the server sees for IPv4.
		want []direction
	}{
		{"any address", "", []direction{
			{"outside", "192.0.2.1", "192.0.2.2"}, {"outside", "fd99::1", "fd99::2"}, {"outside", "10.1.0.1", "192.0.2.2"},
			{"host", "192.0.2.1", "192.0.2.1"}, {"host", "fd99::1", "fd99::1"}, {"host", "127.0.0.1", "10.1.0.1"}, {"host", "127.0.0.9", "10.1.0.1"},
			{"host", "10.1.0.1", "10.1.0.1"}, {"host", "::1", none},
			{"server", "192.0.2.1", "10.1.0.1"}, {"server", "fd99::1", "fdb1::1"}, {"server", "10.1.0.1", "10.1.0.1"},
			{"neighbour", "192.0.2.1", "10.1.0.1"}, {"neighbour", "fd99::1", "fdb1::1"}, {"neighbour", "10.1.0.1", "10.1.0.1"},
			{"stranger", "192.0.2.1", "10.1.0.1"}, {"stranger", "fd99::1", "fdb1::1"}, {"stranger", "10.2.0.1", "10.1.0.1"},
		}},
		{"all of IPv4", "0.0.0.0", []direction{{"outside", "192.0.2.1", "192.0.2.2"}, {"outside", "fd99::1", none}}},
		{"all of IPv6", "::", []direction{{"outside", "192.0.2.1", none}, {"outside", "fd99::1", "fd99::2"}}},
		{"the loopback", "127.0.0.1", []direction{
			{"outside", "192.0.2.1", none}, {"outside", "fd99::1", none}, {"host", "127.0.0.1", "10.1.0.1"}, {"host", "192.0.2.1", none},
			{"server", "192.0.2.1", none}, {"neighbour", "192.0.2.1", none}, {"stranger", "192.0.2.1", none},
		}},
		{"one address", "192.0.2.1", []direction{
			{"outside", "192.0.2.1", "192.0.2.2"}, {"outside", "10.1.0.1", none}, {"host", "192.0.2.1", "192.0.2.1"},
			{"host", "127.0.0.1", none}, {"neighbour", "192.0.2.1", "10.1.0.1"}, {"stranger", "192.0.2.1", "10.1.0.1"},
		}},
		{"one address of IPv6", "fd99::1", []direction{
			{"outside", "fd99::1", "fd99::2"}, {"outside", "192.0.2.1", none}, {"neighbour", "fd99::1", "fdb1::1"},
		}},
	} {
		for _, within := range []string{"0", "1"} {
			t.Run(tt.name+", br_netfilter "+within, func(t *testing.T) {
				w := newWorld(t)
				filtered := w.filterWithinBridges(t, within)
				var hostIP netip.Addr
				if tt.hostIP != "" {
					hostIP = netip.MustParseAddr(tt.hostIP)
				}
				w.publish(t, func(p *ports.Port) { p.HostIP = hostIP })
				for _, d := range tt.want {
					if d.who == "neighbour" && d.want != none && filtered {
						d.want = w.sourceOfNeighbour(d.by) // the bridge passes the frame on, both ways
					}
					w.wantDirection(t, d)
				}
			})
		}
	}
}

// filterWithinBridges has br_netfilter on or off, where the kernel has it, and says whether it is on.
func (w *world) filterWithinBridges(t *testing.T, on string) bool {
	t.Helper()
	if _, err := os.Stat("/proc/sys/net/bridge"); err != nil {
		t.Log("no br_netfilter: frames within a bridge pass no filter")
		return false
	}
	for _, key := range []string{"iptables", "ip6tables"} {
		testnet.Sh(t, "sysctl", "-qw", "net.bridge.bridge-nf-call-"+key+"="+on)
	}
	return on == "1"
}

func (w *world) sourceOfNeighbour(by string) string {
	if strings.Contains(by, ":") {
		return "fdb1::3"
	}
	return "10.1.0.3"
}

// direction is who asks by which address of the host, and the source that the server sees; empty: no answer.
type direction struct{ who, by, want string }

// published is the server's ports, TCP and UDP, 8080 to 80.
func (w *world) published(change func(*ports.Port)) ports.Published {
	p := ports.Published{
		Owner: w.server.Owner, Addrs: []netip.Addr{statetest.MustAddr("10.1.0.2"), statetest.MustAddr("fdb1::2")}, Hairpin: true,
	}
	for _, protocol := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		port := ports.Port{Protocol: protocol, HostPort: 8080, ContainerPort: 80}
		change(&port)
		p.Ports = append(p.Ports, port)
	}
	return p
}

func (w *world) publish(t *testing.T, change func(*ports.Port)) ports.Published {
	t.Helper()
	p := w.published(change)
	statetest.Apply(t, statetest.Open(t, nil), p)
	statetest.Verifies(t, nil, p)
	return p
}

func (w *world) of(who string) *testnet.Namespace {
	return map[string]*testnet.Namespace{
		"outside": w.outside, "host": w.host, "server": w.server.Namespace, "neighbour": w.neighbour.Namespace, "stranger": w.stranger.Namespace,
	}[who]
}

func (w *world) wantDirection(t *testing.T, d direction) {
	t.Helper()
	patience := statetest.Patience
	if d.want == "" {
		patience = 300 * time.Millisecond
	}
	for _, network := range []string{"tcp", "udp"} {
		got := ask(t, w.of(d.who), network, net.JoinHostPort(d.by, "8080"), patience)
		if got != d.want {
			t.Errorf("%s by %s (%s): the server saw %q, want %q", d.who, d.by, network, got, d.want)
		}
	}
}

// TestOnlyPublished: from outside, a container is reached by its published ports alone, and the host's loopback by nobody.
func TestOnlyPublished(t *testing.T) {
	w := newWorld(t)
	p := w.publish(t, func(*ports.Port) {})
	direct := func(who string) string { return ask(t, w.of(who), "tcp", "10.1.0.2:80", 500*time.Millisecond) }
	if got := direct("outside"); got != "192.0.2.2" {
		t.Fatalf("a routed container is asked by %q", got)
	}
	p.Only = true
	statetest.Apply(t, statetest.Open(t, nil), p)
	for who, want := range map[string]string{"outside": "", "host": "10.1.0.1", "neighbour": "10.1.0.3", "stranger": "10.1.0.1"} {
		if got := direct(who); got != want {
			t.Errorf("directly from %s: the server saw %q, want %q", who, got, want)
		}
	}
	w.wantDirection(t, direction{"outside", "192.0.2.1", "192.0.2.2"})
	// A packet to 127.0.0.1 that comes by a link.
	w.outside.Sh(t, "ip", "route", "add", "local", "127.0.0.2", "dev", "lo") // so that the rest of 127/8 may be sent
	w.outside.Sh(t, "sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
	w.outside.Sh(t, "ip", "route", "add", "127.0.0.1", "via", "192.0.2.1", "src", "192.0.2.2")
	testnet.Sh(t, "sysctl", "-qw", "net.ipv4.conf.up0.route_localnet=1")
	if got := ask(t, w.outside, "tcp", "127.0.0.1:8080", 500*time.Millisecond); got != "" {
		t.Errorf("the host's loopback from outside: the server saw %q", got)
	}
}

// TestSources: who may come in by a port is looked at before it is translated; the host itself always may.
func TestSources(t *testing.T) {
	w := newWorld(t)
	w.publish(t, func(p *ports.Port) {
		p.Sources = []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16"), netip.MustParsePrefix("fd99::/64")}
	})
	for _, d := range []direction{
		{"outside", "192.0.2.1", ""}, {"outside", "fd99::1", "fd99::2"}, {"stranger", "192.0.2.1", "10.1.0.1"}, {"stranger", "fd99::1", ""},
		{"neighbour", "192.0.2.1", ""}, {"host", "127.0.0.1", "10.1.0.1"}, {"host", "192.0.2.1", "192.0.2.1"},
	} {
		w.wantDirection(t, d)
	}
}

// TestUserChain is the administrator's: what is in it stays, whatever is published.
func TestUserChain(t *testing.T) {
	w := newWorld(t)
	p := w.publish(t, func(*ports.Port) {})
	testnet.Sh(t, "nft", "add", "rule", "inet", "fairway_ports", "user", "ip", "saddr", "192.0.2.2", "drop")
	w.wantDirection(t, direction{"outside", "192.0.2.1", ""})
	w.wantDirection(t, direction{"stranger", "192.0.2.1", "10.1.0.1"})
	testnet.Sh(t, "nft", "flush", "chain", "inet", "fairway_ports", "incoming")
	statetest.Drifts(t, nil, p, "chain incoming of nftables table inet fairway_ports has not the rules of this version")
	statetest.Apply(t, statetest.Open(t, nil), p) // which writes the rules anew
	w.wantDirection(t, direction{"outside", "192.0.2.1", ""})
	statetest.Removes(t, nil, p)
	if got := testnet.Sh(t, "nft", "list", "chain", "inet", "fairway_ports", "user"); !strings.Contains(got, "192.0.2.2") {
		t.Errorf("the administrator's chain:\n%s", got)
	}
}

// TestMasqueradeAll: the server sees the host, whoever comes.
func TestMasqueradeAll(t *testing.T) {
	w := newWorld(t)
	p := w.published(func(*ports.Port) {})
	p.MasqueradeAll = true
	statetest.Apply(t, statetest.Open(t, nil), p)
	for _, d := range []direction{
		{"outside", "192.0.2.1", "10.1.0.1"}, {"outside", "fd99::1", "fdb1::1"}, {"stranger", "192.0.2.1", "10.1.0.1"}, {"host", "192.0.2.1", "10.1.0.1"},
	} {
		w.wantDirection(t, d)
	}
}

// TestRange: many ports in a row are one element, for each family.
func TestRange(t *testing.T) {
	w := newWorld(t)
	p := ports.Published{Owner: w.server.Owner, Addrs: []netip.Addr{statetest.MustAddr("10.1.0.2"), statetest.MustAddr("fdb1::2")}, Hairpin: true}
	var list []ports.Port
	for port := range 2000 {
		list = append(list, ports.Port{Protocol: unix.IPPROTO_TCP, HostPort: uint16(port + 1), ContainerPort: uint16(port + 1)})
	}
	p.Ports = ports.Join(list)
	statetest.Apply(t, statetest.Open(t, nil), p)
	statetest.Verifies(t, nil, p)
	for who, want := range map[string]string{"outside": "192.0.2.2", "host": "192.0.2.1", "stranger": "10.1.0.1"} {
		if got := ask(t, w.of(who), "tcp", "192.0.2.1:80", statetest.Patience); got != want {
			t.Errorf("%s: the server saw %q, want %q", who, got, want)
		}
	}
	shown := testnet.Sh(t, "nft", "list", "map", "inet", "fairway_ports", "published_ranges_any4")
	if !strings.Contains(shown, "tcp . 1-2000 comment") {
		t.Errorf("map of ranges:\n%s", shown)
	}
	statetest.Removes(t, nil, p)
	wantNoElements(t)
}

// wantNoElements expects nothing of any owner in the ruleset but what newWorld made.
func wantNoElements(t *testing.T) {
	t.Helper()
	for line := range strings.Lines(testnet.Sh(t, "nft", "list", "table", "inet", "fairway_ports")) {
		if strings.Contains(line, "fairway net") {
			t.Errorf("left: %s", line)
		}
	}
}
