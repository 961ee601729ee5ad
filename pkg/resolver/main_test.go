package resolver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/names"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// The host of these tests is the namespace that their process is in.
func TestMain(m *testing.M) { testnet.Run(m) }

// host is a host with a resolver.
type host struct {
	t         testing.TB
	directory names.Directory
	resolv    string
	resolver  *Resolver
	stop      func()
	ended     chan error
}

// newHost starts a resolver, whose host asks the servers given.
func newHost(t testing.TB, servers ...string) *host {
	t.Helper()
	dir := t.TempDir()
	h := &host{t: t, directory: names.Directory(filepath.Join(dir, "names")), resolv: filepath.Join(dir, "resolv.conf")}
	h.servers(servers...)
	h.start(Config{})
	t.Cleanup(func() { h.end() })
	return h
}

func (h *host) servers(servers ...string) {
	h.t.Helper()
	var text string
	for _, s := range servers {
		text += "nameserver " + s + "\n"
	}
	if err := os.WriteFile(h.resolv, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) start(c Config) {
	h.t.Helper()
	c.Directory, c.ResolvConf = h.directory, h.resolv
	ctx, cancel := context.WithCancel(context.Background())
	r := New(c)
	ended, ready := make(chan error, 1), make(chan struct{})
	go func() { ended <- r.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		h.t.Fatalf("resolver: %v", err)
	}
	h.resolver, h.stop, h.ended = r, cancel, ended
}

// end ends the resolver and waits for it.
func (h *host) end() {
	h.t.Helper()
	if h.stop == nil {
		return
	}
	h.stop()
	if err := <-h.ended; err != nil {
		h.t.Errorf("resolver: %v", err)
	}
	h.stop = nil
}

// container is one that has a record.
type container struct {
	*testnet.Namespace
	record names.Record
}

// attach makes a container and its record.
func (h *host) attach(network, name string, change ...func(*names.Record)) container {
	h.t.Helper()
	c := container{Namespace: testnet.NewNS(h.t, network+"-"+name)}
	c.Sh(h.t, "ip", "link", "set", "lo", "up")
	c.record = record(network, name, c.Path)
	for _, f := range change {
		f(&c.record)
	}
	h.put(c.record)
	h.t.Cleanup(func() { h.remove(c.record.Owner) })
	return c
}

func (h *host) put(r names.Record) {
	h.t.Helper()
	if err := h.directory.Put(r); err != nil {
		h.t.Fatal(err)
	}
	if err := h.directory.Tell(r.Owner); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) remove(o names.Owner) {
	h.t.Helper()
	if err := h.directory.Remove(o); err != nil {
		h.t.Fatal(err)
	}
	_ = h.directory.Tell(o) // the resolver may have ended
}

func record(network, name, path string) names.Record {
	id, err := kernel.Identify(path)
	if err != nil {
		panic(err)
	}
	return names.Record{
		Owner: names.Owner{Network: network, ContainerID: "id-of-" + name, IfName: "eth0"},
		Names: []string{name}, Netns: names.Netns{Path: path, Dev: id.Dev, Inode: id.Inode, Cookie: id.Cookie},
	}
}

// addrs gives a record addresses.
func addrs(all ...string) func(*names.Record) {
	return func(r *names.Record) {
		for _, a := range all {
			r.Addresses = append(r.Addresses, netip.MustParseAddr(a))
		}
	}
}

func aliases(all ...string) func(*names.Record) {
	return func(r *names.Record) { r.Aliases = append(r.Aliases, all...) }
}

// ask asks 127.0.0.11 within the container.
func (c container) ask(t testing.TB, name string, qtype uint16) *dns.Msg {
	t.Helper()
	r, err := c.tryAsk("udp", query(name, qtype))
	if err != nil {
		t.Fatalf("%s %s: %v", name, dns.TypeToString[qtype], err)
	}
	return r
}

func query(name string, qtype uint16) *dns.Msg {
	return new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
}

func (c container) tryAsk(network string, q *dns.Msg) (r *dns.Msg, err error) {
	conn, err := c.dial(network)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	client := &dns.Client{Net: network, Timeout: 10 * time.Second, UDPSize: dns.MaxMsgSize}
	r, _, err = client.ExchangeWithConn(q, &dns.Conn{Conn: conn, UDPSize: dns.MaxMsgSize})
	return r, err
}

func (c container) dial(network string) (conn net.Conn, err error) {
	err = c.Do(func() error {
		conn, err = net.Dial(network, "127.0.0.11:53")
		return err
	})
	return conn, err
}

// upstreamServer is a server beside the host, that counts what it is asked.
type upstreamServer struct {
	mu    sync.Mutex
	count map[string]int
}

func (u *upstreamServer) asked(name string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.count[dns.Fqdn(name)]
}

// serveUpstream serves on an address of the host's loopback, port 53.
func serveUpstream(t testing.TB, addr string, answer func(dns.ResponseWriter, *dns.Msg)) *upstreamServer {
	t.Helper()
	u := &upstreamServer{count: map[string]int{}}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		u.mu.Lock()
		u.count[q.Question[0].Name]++
		u.mu.Unlock()
		answer(w, q)
	})
	at := netip.AddrPortFrom(netip.MustParseAddr(addr), 53).String()
	packets, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	streams, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: streams, Handler: handler}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { _ = s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return u
}

// world answers A questions with 192.0.2.1.
func world(w dns.ResponseWriter, q *dns.Msg) {
	r := new(dns.Msg).SetReply(q)
	if q.Question[0].Qtype == dns.TypeA {
		rr, err := dns.NewRR(fmt.Sprintf("%s 60 IN A 192.0.2.1", q.Question[0].Name))
		if err != nil {
			panic(err)
		}
		r.Answer = append(r.Answer, rr)
	}
	_ = w.WriteMsg(r)
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("not within 30 s: %s", what)
}
