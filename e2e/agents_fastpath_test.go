package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// What holds of overlay networks holds with and without the fast path.
func TestFastPath(t *testing.T) {
	t.Parallel()
	for name, fast := range map[string]bool{"on": true, "off": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, 3, 1)
			other := c.hosts[2] // none of the two
			c.hosts = c.hosts[:2]
			for _, h := range c.hosts {
				h.flags["fast-path"] = strconv.FormatBool(fast)
			}
			c.start(t)
			h1, h2 := c.hosts[0], c.hosts[1]
			p := &fastPair{pair: &pair{cluster: c, other: other}, fast: fast}
			p.network = c.put(t, h1, agentapi.Network{Name: "blue", IPMasq: true, Subnets: []agentapi.Subnet{
				{Prefix: netip.MustParsePrefix("10.42.0.0/16")}, {Prefix: netip.MustParsePrefix("fd42::/64")},
			}})
			p.a, p.addrA = h1.add(t, "blue", "a")
			p.c, p.addrC = h1.add(t, "blue", "c")
			p.b, p.addrB = h2.add(t, "blue", "b")
			p.settle(t)
			t.Run("another network", p.isolatedDatagrams)
			t.Run("internal", p.internal)
			t.Run("another's address", p.anothersAddress)
			t.Run("a stranger", p.strangersDatagrams)
			t.Run("VXLAN within", p.tunnelled)
			t.Run("published port", p.publishedPort)
			t.Run("agent ends", p.agentEnds)
			t.Run("others' rules", p.othersRules)
			t.Run("address reused", p.addressReused) // last: its containers go with it
		})
	}
}

// fastPair is two containers of a host and one of another.
type fastPair struct {
	*pair
	fast  bool
	c     guest
	addrC string
}

// settle waits until packets are carried, where they are to be.
func (p *fastPair) settle(t *testing.T) {
	t.Helper()
	for _, to := range []struct {
		guest
		addr string
	}{{p.b, p.addrB}, {p.c, p.addrC}} {
		ping(t, p.a.Path, to.addr)
		eventually(t, fmt.Sprintf("packets to %s are carried: %t", to.addr, p.fast), func() bool {
			before := carried(t, p.hosts[0])
			flow(t, p.a.Namespace, to.Namespace, to.addr, func() { time.Sleep(100 * time.Millisecond) })
			return carried(t, p.hosts[0]) > before == p.fast
		})
	}
}

// carried is how many packets the fast path of a host has carried.
func carried(t *testing.T, h *member) int {
	t.Helper()
	metrics := h.Sh(t, "curl", "-s", "--unix-socket", "/run/fairway/fairwayd.sock", "http://fairwayd/metrics")
	_, after, there := strings.Cut(metrics, "\nfairwayd_fast_path_packets_total ")
	if !there {
		return 0
	}
	text, _, _ := strings.Cut(after, "\n")
	count, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(count)
}

// silent sends datagrams, none of which may arrive.
func (p *fastPair) silent(t *testing.T, from, to guest, addr string) {
	t.Helper()
	f, err := testnet.StartFlow(from.Namespace, to.Namespace, netip.MustParseAddr(addr))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	if f.Count() > 0 {
		t.Errorf("%d datagrams have reached %s", f.Count(), addr)
	}
	_ = f.Stop(0) // all were lost
}

func (p *fastPair) isolatedDatagrams(t *testing.T) {
	h1, h2 := p.hosts[0], p.hosts[1]
	p.put(t, h1, overlayNet("green", "10.46.0.0/16"))
	here, addrHere := h1.add(t, "green", "here")
	there, addrThere := h2.add(t, "green", "there")
	flow(t, here.Namespace, there.Namespace, addrThere, func() { time.Sleep(1500 * time.Millisecond) }) // by the fast path at last
	p.silent(t, p.a, here, addrHere)
	p.silent(t, p.a, there, addrThere)
	p.silent(t, here, p.a, p.addrA)
	p.silent(t, there, p.a, p.addrA)
}

// internal: containers reach each other, and no address of the underlay.
func (p *fastPair) internal(t *testing.T) {
	h1, h2 := p.hosts[0], p.hosts[1]
	n := overlayNet("inner", "10.47.0.0/16")
	n.Internal = true
	p.put(t, h1, n)
	here, _ := h1.add(t, "inner", "i1")
	there, addrThere := h2.add(t, "inner", "i2")
	flow(t, here.Namespace, there.Namespace, addrThere, func() { time.Sleep(1500 * time.Millisecond) })
	gateway := strings.Fields(here.Sh(t, "ip", "route", "get", addrThere))[2]
	for _, to := range []string{"192.0.2.0/24", "10.42.0.0/16"} {
		here.Sh(t, "ip", "route", "add", to, "via", gateway)
	}
	p.silent(t, here, guest{p.other.Namespace, ""}, p.other.V4.String())
	p.silent(t, here, p.b, p.addrB)
}

// anothersAddress: what a container sends from an address that is another's is dropped, whether it goes to its host or to another.
func (p *fastPair) anothersAddress(t *testing.T) {
	p.a.Sh(t, "ip", "addr", "add", p.addrC+"/32", "dev", "eth0")
	defer p.a.Sh(t, "ip", "addr", "del", p.addrC+"/32", "dev", "eth0")
	heard := hear(t, p.b, p.addrB, 9)
	say(t, p.a, p.addrC, heard.address)
	say(t, p.a, p.addrA, heard.address)
	if from := heard.next(t); from != p.addrA {
		t.Errorf("a datagram from %s has arrived", from)
	}
}

// strangersDatagrams: a machine that is no peer sends what a peer would.
func (p *fastPair) strangersDatagrams(t *testing.T) {
	source := p.disguise(t)
	heard := hear(t, p.a, p.addrA, 9)
	wire := p.hosts[0].Capture(t, "eth0")
	say(t, guest{p.other.Namespace, ""}, source, heard.address)
	if !wire.Await(t, patience, isVXLANFrom(p.other.V4)) {
		t.Fatal("the stranger's packet is not on the wire")
	}
	say(t, p.b, p.addrB, heard.address)
	if from := heard.next(t); from != p.addrB {
		t.Errorf("a datagram from %s has arrived", from)
	}
}

// tunnelled: no container sends packets of VXLAN that are of a network of the host.
func (p *fastPair) tunnelled(t *testing.T) {
	heard := hear(t, p.c, p.addrC, 4789)
	header := []byte{8, 0, 0, 0, byte(p.network.VNI >> 16), byte(p.network.VNI >> 8), byte(p.network.VNI), 0}
	sayBytes(t, p.a, p.addrA, heard.address, header)
	say(t, p.a, p.addrA, heard.address) // of VNI 0, which nobody has
	if heard.next(t); string(heard.last) != plainWord {
		t.Errorf("% x has arrived, which is of a network of the host", heard.last)
	}
}

// publishedPort: connections to a port of the host reach the container and are answered from there, whoever makes them; so do those to the
// container itself.
func (p *fastPair) publishedPort(t *testing.T) {
	h1 := p.hosts[0]
	web := h1.newGuest(t, "web")
	conflists := p.withPortmap(t, h1)
	mapped := func(verb string) string {
		return succeed(t, with(h1.cni(t, verb, "blue", web), "NETCONFPATH="+conflists,
			`CAP_ARGS={"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}`))
	}
	addr := addressOf(t, mapped("add"))
	defer mapped("del")
	var server net.Listener
	if err := web.Do(func() (err error) {
		server, err = net.Listen("tcp", net.JoinHostPort(addr, "80"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(plainWord)) // the client sees what is missing
			_ = c.Close()
		}
	}()
	outside := guest{p.other.Namespace, ""}
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end) && !t.Failed(); time.Sleep(50 * time.Millisecond) { // until all that is carried is
		for _, client := range []guest{p.a, p.b, outside} {
			fetch(t, client, netip.AddrPortFrom(h1.V4, 8080).String())
		}
		for _, client := range []guest{p.a, p.b} {
			fetch(t, client, net.JoinHostPort(addr, "80"))
		}
	}
}

// withPortmap is a directory on a host with network blue as the agent offers it, and portmap behind.
func (p *fastPair) withPortmap(t *testing.T, h *member) (dir string) {
	t.Helper()
	dir = "/run/with-portmap"
	text, err := os.ReadFile(h.conflist("blue"))
	if err != nil {
		t.Fatal(err)
	}
	var list map[string]any
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	list["plugins"] = append(list["plugins"].([]any), map[string]any{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}, "snat": true})
	if text, err = json.Marshal(list); err == nil {
		err = os.MkdirAll(h.File(dir), 0o755)
	}
	if err == nil {
		err = os.WriteFile(h.File(filepath.Join(dir, "blue.conflist")), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// fetch reads the word that a server says.
func fetch(t *testing.T, from guest, at string) {
	t.Helper()
	if err := from.Do(func() error {
		c, err := net.DialTimeout("tcp", at, patience)
		if err != nil {
			return err
		}
		defer c.Close()
		said, err := io.ReadAll(c)
		if err == nil && string(said) != plainWord {
			err = fmt.Errorf("it says %q", said)
		}
		return err
	}); err != nil {
		t.Errorf("%s from %s: %v", at, from.Path, err)
	}
}

// agentEnds: no packet is lost while the agent of a host is stopped, hangs, is killed, and starts again.
func (p *fastPair) agentEnds(t *testing.T) {
	h1 := p.hosts[0]
	flow(t, p.a.Namespace, p.b.Namespace, p.addrB, func() {
		if err := unix.Kill(h1.agent.Pid(), unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2500 * time.Millisecond) // longer than its lease
		if err := unix.Kill(h1.agent.Pid(), unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
		h1.kill(t)
		time.Sleep(200 * time.Millisecond)
		h1.start(t)
	})
	p.settle(t)
}

// addressReused: after DEL nobody has the address, and who gets it next gets its packets, with the agent and without.
func (p *fastPair) addressReused(t *testing.T) {
	h1 := p.hosts[0]
	for i, without := range []bool{false, true} {
		if without {
			h1.kill(t)
		}
		succeed(t, h1.cni(t, "del", "blue", p.c))
		if err := p.a.Do(func() error {
			_, err := net.DialTimeout("tcp", net.JoinHostPort(p.addrC, "80"), patience)
			return err
		}); !errors.Is(err, unix.EHOSTUNREACH) {
			t.Errorf("to the address that nobody has: %v, want %v", err, unix.EHOSTUNREACH)
		}
		next := h1.newGuest(t, fmt.Sprint("next", i))
		if addr := addressOf(t, succeed(t, with(h1.cni(t, "add", "blue", next), "CNI_ARGS=IgnoreUnknown=1;IP="+p.addrC))); addr != p.addrC {
			t.Fatalf("address %s, want %s", addr, p.addrC)
		}
		p.c = next
		flow(t, p.a.Namespace, p.c.Namespace, p.addrC, func() { time.Sleep(100 * time.Millisecond) })
		flow(t, p.b.Namespace, p.c.Namespace, p.addrC, func() { time.Sleep(100 * time.Millisecond) })
		if without {
			h1.start(t)
		}
		p.settle(t)
	}
}

// othersRules: what another table drops is dropped, a moment after it has come.
func (p *fastPair) othersRules(t *testing.T) {
	h1 := p.hosts[0]
	f, err := testnet.StartFlow(p.a.Namespace, p.b.Namespace, netip.MustParseAddr(p.addrB))
	if err != nil {
		t.Fatal(err)
	}
	h1.Sh(t, "sh", "-ec", "nft add table ip others; nft add chain ip others f '{ type filter hook forward priority 0; }'; nft add rule ip others f udp dport != 9 drop")
	eventually(t, "the rule drops", func() bool {
		before := f.Count()
		time.Sleep(100 * time.Millisecond)
		return f.Count() == before
	})
	_ = f.Stop(0) // they were to be lost
	h1.Sh(t, "nft", "delete", "table", "ip", "others")
	p.settle(t)
}

// listener hears datagrams.
type listener struct {
	*net.UDPConn
	address netip.AddrPort
	last    []byte
}

func hear(t *testing.T, at guest, addr string, port uint16) *listener {
	t.Helper()
	l := &listener{address: netip.AddrPortFrom(netip.MustParseAddr(addr), port)}
	if err := at.Do(func() (err error) {
		l.UDPConn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(l.address))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// next is the source of the next datagram.
func (l *listener) next(t *testing.T) string {
	t.Helper()
	if err := l.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	l.last = make([]byte, 64)
	n, from, err := l.ReadFromUDPAddrPort(l.last)
	if err != nil {
		t.Fatal(err)
	}
	l.last = l.last[:n]
	return from.Addr().Unmap().String()
}

const plainWord = "a word that is no header of VXLAN"

// say sends one datagram from an address.
func say(t *testing.T, at guest, from string, to netip.AddrPort) {
	t.Helper()
	sayBytes(t, at, from, to, []byte(plainWord))
}

func sayBytes(t *testing.T, at guest, from string, to netip.AddrPort, what []byte) {
	t.Helper()
	if err := at.Do(func() error {
		c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0)), net.UDPAddrFromAddrPort(to))
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write(what)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
