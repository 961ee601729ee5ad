package packetfilter_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/packetfilter"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestMain(m *testing.M) {
	if err := testnet.Isolate(); err != nil {
		fmt.Fprintln(os.Stderr, "packetfilter:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// path is a host between a container and the rest of the world, in which a server listens.
type path struct {
	host, container *testnet.Namespace
	connection      packetfilter.Packet
}

func newPath(t *testing.T) *path {
	t.Helper()
	p := &path{host: testnet.NewHost(t), container: testnet.NewNS(t, "c")}
	outside := testnet.NewNS(t, "o")
	for line := range strings.Lines(fmt.Sprintf(`link add br0 group 7 type bridge
link add vc type veth peer name eth0 netns %s
link add up0 type veth peer name far0 netns %s
link set vc master br0
addr add 10.4.0.1/24 dev br0
addr add 192.0.2.10/24 dev up0
link set vc up
link set br0 up
link set up0 up
route add default via 192.0.2.1`, p.container.Path, outside.Path)) {
		testnet.Sh(t, "ip", strings.Fields(line)...)
	}
	testnet.Sh(t, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
	for ns, commands := range map[*testnet.Namespace]string{
		p.container: "link set eth0 up\naddr add 10.4.0.2/24 dev eth0\nroute add default via 10.4.0.1",
		outside:     "link set lo up\nlink set far0 up\naddr add 192.0.2.1/24 dev far0\naddr add 1.1.1.1/32 dev lo\nroute add 10.4.0.0/24 via 192.0.2.10",
	} {
		for line := range strings.Lines(commands) {
			ns.Sh(t, "ip", strings.Fields(line)...)
		}
	}
	var listener net.Listener
	if err := outside.Do(func() (err error) { listener, err = net.Listen("tcp4", "1.1.1.1:443"); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	link := func(name, kind string) packetfilter.Link {
		found, err := net.InterfaceByName(name)
		if err != nil {
			t.Fatal(err)
		}
		return packetfilter.Link{Name: name, Index: found.Index, Kind: kind}
	}
	p.connection = packetfilter.Packet{
		In: link("br0", "bridge"), Out: link("up0", "veth"), Source: netip.MustParseAddr("10.4.0.2"), Destination: packetfilter.Outside4,
		SourcePort: 40000, DestinationPort: 443,
	}
	p.connection.In.Group = 7
	return p
}

// connects tries a connection from the container.
func (p *path) connects(t *testing.T) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	var conn net.Conn
	err := p.container.Do(func() (err error) {
		conn, err = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(10, 4, 0, 2)}}).DialContext(ctx, "tcp4", "1.1.1.1:443")
		return err
	})
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// follows gives what becomes of the connection: its first packet, and the answer.
func (p *path) follows(t *testing.T, f *packetfilter.Filter) packetfilter.Outcome {
	t.Helper()
	o := f.Way(p.connection, packetfilter.Prerouting, packetfilter.Forward, packetfilter.Postrouting)
	if back := f.Way(p.connection.Reply(), packetfilter.Prerouting, packetfilter.Forward, packetfilter.Postrouting); back.Fate > o.Fate {
		return back
	}
	return o
}

func read(t *testing.T) *packetfilter.Filter {
	t.Helper()
	k, err := kernel.Open("")
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	f, err := packetfilter.Read(k)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// agree holds what is said of the rules to what the kernel does by them.
func (p *path) agree(t *testing.T, f *packetfilter.Filter, rules string) {
	t.Helper()
	said := p.follows(t, f)
	does := packetfilter.Dropped
	if p.connects(t) {
		does = packetfilter.Passes
	}
	if said.Fate != does {
		t.Errorf("said %+v, and the kernel does %d by\n%s", said, does, rules)
	}
}

// TestAsTheKernelDoes makes rules by chance, sends a packet through each lot of them, and compares.
func TestAsTheKernelDoes(t *testing.T) {
	p := newPath(t)
	for seed := range uint64(60) {
		r := &rules{rand.New(rand.NewPCG(seed, 15))}
		text := r.nft()
		testnet.Sh(t, "nft", "flush ruleset; "+strings.ReplaceAll(text, "\n", "; "))
		p.agree(t, read(t), text)
	}
}

// TestAsIptablesDoes is the same with rules of iptables, on nftables and on its own.
func TestAsIptablesDoes(t *testing.T) {
	p := newPath(t)
	for _, command := range []string{"iptables", "iptables-legacy"} {
		for seed := range uint64(25) {
			r := &rules{rand.New(rand.NewPCG(seed, 16))}
			text := r.iptables(command == "iptables-legacy")
			testnet.Sh(t, "sh", "-c", fmt.Sprintf("%s -F; %s -X; %s", command, command, strings.ReplaceAll(text, "iptables", command)))
			f := read(t)
			if command == "iptables-legacy" {
				f = packetfilter.ParseLegacy(testnet.Sh(t, command, "-S"), false)
			}
			p.agree(t, f, text)
		}
		testnet.Sh(t, command, "-P", "FORWARD", "ACCEPT")
		testnet.Sh(t, command, "-F")
	}
}

type rules struct{ *rand.Rand }

func (r *rules) one(of ...string) string { return of[r.IntN(len(of))] }

// nft is tables with chains at several hooks, which mark, jump and look up.
func (r *rules) nft() string {
	lines := []string{
		"add table inet a",
		"add set inet a nets { type ipv4_addr; flags interval; elements = { 10.4.0.0/25, 172.16.0.0/12 } }",
		"add set inet a links { type ifname; elements = { br0, wan0 } }",
		"add set inet a pairs { type ipv4_addr . inet_service; elements = { 1.1.1.1 . 443, 1.1.1.1 . 80 } }",
		"add set inet a wide { type ipv4_addr . inet_service; flags interval; elements = { 1.0.0.0/8 . 400-500, 2.0.0.0/8 . 1-10 } }",
		"add chain inet a one",
		"add chain inet a two",
		"add chain inet a pre { type filter hook prerouting priority -300; policy accept; }",
		fmt.Sprintf("add chain inet a forward { type filter hook forward priority 0; policy %s; }", r.one("accept", "accept", "drop")),
		"add table ip b",
		fmt.Sprintf("add chain ip b late { type filter hook forward priority 10; policy %s; }", r.one("accept", "accept", "accept", "drop")),
	}
	for range r.IntN(3) {
		lines = append(lines, "add rule inet a pre "+r.condition()+" meta mark set "+r.one("1", "2"))
	}
	for _, chain := range []string{"inet a one", "inet a two", "ip b late"} {
		for range r.IntN(3) {
			lines = append(lines, "add rule "+chain+" "+r.condition()+" "+r.one("accept", "drop", "return", "counter"))
		}
	}
	for range 1 + r.IntN(4) {
		lines = append(lines, "add rule inet a forward "+r.condition()+" "+r.setCondition()+" "+
			r.one("accept", "drop", "jump one", "jump one", "goto two", "counter accept", "log drop", "reject", "return"))
	}
	if r.IntN(3) == 0 {
		lines = append(lines, "add rule inet a forward ct state vmap { established : accept, related : accept, invalid : drop }",
			"add rule inet a forward iifname vmap { br0 : jump one, lo : accept }")
	}
	return strings.Join(lines, "\n")
}

func (r *rules) condition() string {
	return r.one(`iifname "br0"`, `iifname "up0"`, `iifname "b*"`, `iifname != "br0"`, `oifname "up0"`, `iif br0`, "iifgroup 7", `meta iifkind "bridge"`,
		"ip saddr 10.4.0.0/24", "ip saddr 10.4.0.2", "ip daddr 1.1.1.1", "ip saddr != 10.4.0.0/16", "ip daddr 10.0.0.0-10.255.255.255",
		"tcp dport 443", "tcp dport { 22, 443 }", "tcp dport 1-1024", "tcp sport 443", "meta l4proto tcp",
		"ct state new", "ct state established,related", "ct state { established, related }", "ct direction reply", "meta mark 1", "meta mark & 3 == 2",
		"meta mark 1-2", "fib daddr type local", "fib saddr . iif oif exists", "ip version 4", "tcp flags syn / syn,ack", "meta pkttype host", "ip dscp 0", "ct status dnat", "")
}

// setCondition looks up what only table inet a has.
func (r *rules) setCondition() string {
	return r.one("ip saddr @nets", "ip saddr != @nets", "iifname @links", "ip daddr . tcp dport @pairs", "ip daddr . tcp dport @wide", "", "", "")
}

// iptables is rules in chain FORWARD and one that it jumps to.
func (r *rules) iptables(legacy bool) string {
	lines := []string{"iptables -N ONE", "iptables -P FORWARD " + r.one("ACCEPT", "DROP")}
	condition := func() string {
		all := []string{"-i br0", "! -i br0", "-o br0", "-i b+", "-s 10.4.0.0/24", "! -s 10.4.0.2/32", "-d 1.1.1.1", "-p tcp", "-p tcp --dport 443", "-p tcp -m multiport --dports 22,400:500",
			"-m conntrack --ctstate NEW", "-m conntrack --ctstate RELATED,ESTABLISHED", "-m comment --comment 'a b -j DROP'", "-p udp", "! -p udp", "-i br0 -o up0"}
		if !legacy {
			all = append(all, "-m addrtype --dst-type LOCAL", "-m addrtype ! --dst-type LOCAL", "-m mark --mark 1")
		}
		return r.one(all...)
	}
	for range r.IntN(3) {
		lines = append(lines, "iptables -A ONE "+condition()+" -j "+r.one("ACCEPT", "DROP", "RETURN", "LOG"))
	}
	for range 1 + r.IntN(4) {
		lines = append(lines, "iptables -A FORWARD "+condition()+" "+r.one("-j ACCEPT", "-j DROP", "-j ONE", "-g ONE", "-j REJECT"))
	}
	return strings.Join(lines, "\n")
}

// TestUndecided: what a packet alone decides is neither, and what does not matter is no doubt.
func TestUndecided(t *testing.T) {
	p := newPath(t)
	for _, test := range []struct {
		rule, doubt string
		fate        packetfilter.Fate
	}{
		{"limit rate over 10/second drop", "limit", packetfilter.Undecided},
		{"limit rate 10/second log", "", packetfilter.Passes},
		{"meta length > 100 drop", "a value that only the packet has", packetfilter.Undecided},
		{`iifname "other0" limit rate 10/second drop`, "", packetfilter.Passes},
		{"limit rate 10/second accept; add rule inet a f accept", "", packetfilter.Passes},
		{"limit rate 10/second drop; add rule inet a f drop", "", packetfilter.Dropped},
		{"ct mark 5 drop", "a value that only the packet has", packetfilter.Undecided},
		{"rt classid 1 drop", "a value that only the packet has", packetfilter.Undecided},
	} {
		testnet.Sh(t, "nft", "flush ruleset; add table inet a; add chain inet a f { type filter hook forward priority 0; }; add rule inet a f "+test.rule)
		if o := p.follows(t, read(t)); o.Fate != test.fate || o.Doubt != test.doubt {
			t.Errorf("%s: %+v, want %d by %q", test.rule, o, test.fate, test.doubt)
		}
	}
}

// TestNarrow: a drop is of a container alone where a rule says so.
func TestNarrow(t *testing.T) {
	p := newPath(t)
	toHost := p.connection
	toHost.Destination, toHost.Out, toHost.ToHost = netip.MustParseAddr("10.4.0.1"), packetfilter.Link{}, true
	for rule, narrow := range map[string]bool{
		"drop": false, "iifname br0 drop": true, "ip saddr 10.0.0.0/8 drop": true, "iifname != lo drop": false, "iifname { br0, br1 } drop": true,
	} {
		testnet.Sh(t, "nft", "flush ruleset; add table inet a; add chain inet a in { type filter hook input priority 0; }; add rule inet a in "+rule)
		if o := read(t).Way(toHost, packetfilter.Input); o.Fate != packetfilter.Dropped || o.Narrow != narrow {
			t.Errorf("%s: %+v", rule, o)
		}
	}
}
