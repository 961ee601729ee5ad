package fastpath

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/ports"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestMain(m *testing.M) { testnet.Run(m) }

const patience = 20 * time.Second

// site is a host of network net, which has containers with addresses 10.42.HOST.NUMBER and fd42:HOST::NUMBER.
type site struct {
	*testnet.Namespace
	number     int
	containers []*testnet.Namespace
	keeper     *Keeper
	stop       func()
}

// sites are two hosts with two containers each. Nothing carries packets yet.
func sites(t *testing.T) (a, b *site) {
	t.Helper()
	a, b = &site{Namespace: testnet.NewNS(t, "a"), number: 1}, &site{Namespace: testnet.NewNS(t, "b"), number: 2}
	a.Sh(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", name(b.Namespace))
	for _, pair := range [][2]*site{{a, b}, {b, a}} {
		s, other := pair[0], pair[1].number
		s.do(t, `
			sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
			ip link set lo up
			ip link set eth0 up
			ip addr add 192.0.2.%[1]d/24 dev eth0
			ip link add fwvx42 address 02:00:00:00:00:0%[1]d mtu 1450 group %[3]d type vxlan id 42 local 192.0.2.%[1]d dstport 4789 nolearning
			ip link set fwvx42 alias 'fairway-overlay net' up
			ip addr add 10.42.%[1]d.0/32 dev fwvx42
			ip addr add fd42:%[1]d::/128 dev fwvx42 nodad
			ip neigh add 10.42.%[2]d.0 lladdr 02:00:00:00:00:0%[2]d dev fwvx42 nud permanent
			ip neigh add fd42:%[2]d:: lladdr 02:00:00:00:00:0%[2]d dev fwvx42 nud permanent
			bridge fdb add 02:00:00:00:00:0%[2]d dev fwvx42 dst 192.0.2.%[2]d
			ip route add 10.42.%[2]d.0/24 via 10.42.%[2]d.0 dev fwvx42 onlink
			ip route add fd42:%[2]d::/64 via fd42:%[2]d:: dev fwvx42 onlink
			ip route add unreachable 10.42.0.0/16 metric 42
			ip route add unreachable fd42::/16 metric 42`, s.number, other, state.Group("net"))
		for n := range 2 {
			s.add(t, n+1)
		}
	}
	return a, b
}

func name(n *testnet.Namespace) string { return n.Path[strings.LastIndex(n.Path, "/")+1:] }

func (s *site) do(t *testing.T, script string, args ...any) {
	t.Helper()
	s.Sh(t, "sh", "-ec", fmt.Sprintf(script, args...))
}

// add makes container number n, at the end of the list.
func (s *site) add(t *testing.T, n int) *testnet.Namespace {
	t.Helper()
	c := testnet.NewNS(t, fmt.Sprintf("c%d-%d", s.number, len(s.containers)))
	s.containers = append(s.containers, c)
	s.do(t, `
		ip link add c%[2]d mtu 1450 group %[4]d type veth peer name eth0 mtu 1450 netns %[3]s
		ip link set c%[2]d alias 'fairway net c%[2]d eth0' up
		ip addr add 169.254.1.1/32 dev c%[2]d
		ip addr add fe80::1/64 dev c%[2]d nodad
		ip route add 10.42.%[1]d.%[2]d/32 dev c%[2]d
		ip route add fd42:%[1]d::%[2]d/128 dev c%[2]d`, s.number, n, name(c), state.Group("net"))
	c.Sh(t, "sh", "-ec", fmt.Sprintf(`
		ip link set lo up
		ip link set eth0 up
		ip addr add 10.42.%[1]d.%[2]d/32 dev eth0
		ip addr add fd42:%[1]d::%[2]d/128 dev eth0 nodad
		ip route add 169.254.1.1 dev eth0
		ip route add default via 169.254.1.1
		ip route add default via fe80::1 dev eth0`, s.number, n))
	return c
}

// keep begins to carry packets.
func (s *site) keep(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	k := &Keeper{}
	s.keeper = k
	go func() { ended <- s.Do(func() error { return k.Run(ctx) }) }()
	s.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s.stop = func() {}
	}
	t.Cleanup(func() { s.stop() })
}

// exchange sends bytes from one container to the other and back.
func exchange(t *testing.T, from, to *testnet.Namespace, at netip.Addr) error {
	t.Helper()
	var far net.Listener
	if err := to.Do(func() (err error) {
		far, err = net.Listen("tcp", netip.AddrPortFrom(at, 0).String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	go func() {
		if c, err := far.Accept(); err == nil {
			_, _ = io.Copy(c, c) // the near end sees what is missing
			_ = c.Close()
		}
	}()
	return from.Do(func() error {
		c, err := net.DialTimeout("tcp", far.Addr().String(), patience)
		if err != nil {
			return err
		}
		defer c.Close()
		said := bytes.Repeat([]byte("fairway "), 1<<15)
		go func() { _, _ = c.Write(said) }()
		heard := make([]byte, len(said))
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, heard); err != nil {
			return err
		}
		if !bytes.Equal(heard, said) {
			return errors.New("other bytes came back")
		}
		return nil
	})
}

func (s *site) address(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 42, byte(s.number), byte(n)})
}

func (s *site) address6(n int) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("fd42:%d::%d", s.number, n))
}

// carries says whether a host carries what one container sends to another.
func (s *site) carries(t *testing.T, from, to *testnet.Namespace, at netip.Addr) bool {
	t.Helper()
	before := s.counted(t)
	if err := exchange(t, from, to, at); err != nil {
		t.Fatalf("to %s: %v", at, err)
	}
	return s.counted(t) > before
}

// counted is how many packets the host has carried.
func (s *site) counted(t *testing.T) uint64 {
	t.Helper()
	if s.keeper == nil {
		return 0
	}
	return s.keeper.Carried()
}

// awaitCarried waits until what the first container sends is carried, or is no longer. It arrives in any case.
func (s *site) awaitCarried(t *testing.T, want bool, to *testnet.Namespace, at netip.Addr) {
	t.Helper()
	await(t, fmt.Sprintf("packets to %s are carried: %t", at, want), func() bool { return s.carries(t, s.containers[0], to, at) == want })
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func listenAt(t *testing.T, at *testnet.Namespace, addr netip.AddrPort) (l net.Listener) {
	t.Helper()
	if err := at.Do(func() (err error) {
		l, err = net.Listen("tcp", addr.String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return l
}

// exchangeWithin connects within a time.
func exchangeWithin(patience time.Duration, from *testnet.Namespace, to netip.AddrPort) error {
	return from.Do(func() error {
		c, err := net.DialTimeout("tcp", to.String(), patience)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
}

func TestCarries(t *testing.T) {
	a, b := sites(t)
	if a.carries(t, a.containers[0], b.containers[0], b.address(1)) {
		t.Error("packets are carried before anything carries them")
	}
	a.keep(t)
	b.keep(t)
	a.awaitCarried(t, true, b.containers[0], b.address(1))
	for _, to := range []netip.Addr{b.address(1), b.address6(1)} {
		if !a.carries(t, a.containers[0], b.containers[0], to) {
			t.Errorf("packets from host to host, to %s, are not carried", to)
		}
	}
	for _, to := range []netip.Addr{a.address(2), a.address6(2)} {
		if !a.carries(t, a.containers[0], a.containers[1], to) {
			t.Errorf("packets within a host, to %s, are not carried", to)
		}
	}
	a.stop()
	if err := exchange(t, a.containers[0], b.containers[0], b.address(1)); err != nil {
		t.Errorf("after the end: %v", err)
	}
}

// What others have in the way of packets turns the fast path off for all, and on again when it has gone.
func TestOthersSeePackets(t *testing.T) {
	a, b := sites(t)
	a.keep(t)
	a.awaitCarried(t, true, b.containers[0], b.address(1))
	for _, c := range []struct{ name, appears, goes string }{
		{"a filter in forward", "nft add table ip other; nft add chain ip other f '{ type filter hook forward priority 0; }'; nft add rule ip other f counter", "nft delete table ip other"},
		{"a policy", "nft add table inet other; nft add chain inet other f '{ type filter hook forward priority 0; policy drop; }'; nft add rule inet other f accept", ""},
		{"destination translation", "nft add table ip6 other; nft add chain ip6 other n '{ type nat hook prerouting priority -100; }'; nft add rule ip6 other n tcp dport 1 redirect to 2", "nft delete table ip6 other"},
		{"a rule in the ingress of a link", "nft add table netdev other; nft add chain netdev other i '{ type filter hook ingress device fwvx42 priority 0; }'; nft add rule netdev other i counter", "nft delete table netdev other"},
		{"a chain of the administrator's in fairway's table", "nft add table inet fairway; nft add chain inet fairway mine '{ type filter hook postrouting priority 0; }'; nft add rule inet fairway mine counter", "nft delete table inet fairway"},
	} {
		a.do(t, "%s", c.appears)
		a.awaitCarried(t, false, b.containers[0], b.address(1))
		if c.goes == "" {
			c.goes = "nft delete table inet other"
		}
		a.do(t, "%s", c.goes)
		a.awaitCarried(t, true, b.containers[0], b.address(1))
	}
	a.do(t, "nft add table ip calm; nft add chain ip calm f '{ type filter hook forward priority 0; }'; nft add chain ip calm i '{ type filter hook input priority 0; }'; nft add rule ip calm i counter")
	time.Sleep(settled) // longer than a look
	a.awaitCarried(t, true, b.containers[0], b.address(1))
}

// What concerns one container leaves that one to the stack.
func TestOneIsLeftOut(t *testing.T) {
	a, b := sites(t)
	a.keep(t)
	port := ports.Published{
		Owner: state.Owner{Network: "net", ContainerID: "c1", IfName: "eth0"}, Addrs: []netip.Addr{a.address(1)},
		Ports: []ports.Port{{Protocol: unix.IPPROTO_TCP, HostIP: netip.IPv4Unspecified(), HostPort: 8080, ContainerPort: 80}},
	}
	on := func(f func(k *kernel.Kernel) error) func() {
		return func() {
			if err := a.Do(func() error {
				k, err := kernel.Open("")
				if err != nil {
					return err
				}
				defer k.Close()
				return f(k)
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name          string
		appears, goes func()
	}{
		{"published port", on(func(k *kernel.Kernel) error { _, err := port.Ensure(k); return err }), on(func(k *kernel.Kernel) error { return port.Remove(k) })},
		{"limit", func() { a.do(t, "tc qdisc add dev c1 root tbf rate 1gbit burst 1m latency 50ms") }, func() { a.do(t, "tc qdisc del dev c1 root") }},
		{"filter", func() {
			a.do(t, "tc qdisc add dev c1 clsact; tc filter add dev c1 egress protocol ip u32 match u32 0 0 classid 1:1")
		}, func() { a.do(t, "tc qdisc del dev c1 clsact") }},
		{"another network", func() { a.do(t, "ip link set c1 group 7") }, func() { a.do(t, "ip link set c1 group %d", state.Group("net")) }},
	} {
		t.Log(c.name)
		a.awaitCarried(t, true, b.containers[0], b.address(1))
		c.appears()
		a.awaitCarried(t, false, b.containers[0], b.address(1))
		a.awaitCarried(t, false, a.containers[1], a.address(2))
		await(t, c.name+": another container is not left out", func() bool { return a.carries(t, a.containers[1], b.containers[0], b.address(1)) })
		c.goes()
		a.awaitCarried(t, true, b.containers[0], b.address(1))
	}
}

// A connection to a published port of a container of the same network and host is answered by the address that it was made to.
func TestAnswersAreTranslatedBack(t *testing.T) {
	a, _ := sites(t)
	a.keep(t)
	a.awaitCarried(t, true, a.containers[1], a.address(2))
	port := ports.Published{
		Owner: state.Owner{Network: "net", ContainerID: "c2", IfName: "eth0"}, Addrs: []netip.Addr{a.address(2)},
		Ports: []ports.Port{{Protocol: unix.IPPROTO_TCP, HostIP: netip.IPv4Unspecified(), HostPort: 8080, ContainerPort: 80}},
	}
	if err := a.Do(func() error {
		k, err := kernel.Open("")
		if err != nil {
			return err
		}
		defer k.Close()
		_, err = port.Ensure(k)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	far := listenAt(t, a.containers[1], netip.AddrPortFrom(a.address(2), 80))
	defer far.Close()
	await(t, "a connection by a published port", func() bool {
		return exchangeWithin(2*time.Second, a.containers[0], netip.MustParseAddrPort("192.0.2.1:8080")) == nil
	})
}

// An address that another container has gets its packets at once, and no other.
func TestAddressIsReused(t *testing.T) {
	a, b := sites(t)
	a.keep(t)
	b.keep(t)
	b.awaitCarried(t, true, a.containers[0], a.address(1))
	for range 5 {
		former := a.containers[0]
		a.do(t, "ip link del c1")
		if err := exchangeWithin(200*time.Millisecond, b.containers[0], netip.AddrPortFrom(a.address(1), 80)); err == nil {
			t.Fatal("an address that nobody has is answered")
		}
		old := listenAt(t, former, netip.AddrPortFrom(netip.IPv4Unspecified(), 80))
		next := a.add(t, 1)
		a.containers = append(a.containers, former)
		a.containers[0] = next
		if err := exchange(t, b.containers[0], next, a.address(1)); err != nil {
			t.Fatal(err)
		}
		_ = old.Close()
	}
	b.awaitCarried(t, true, a.containers[0], a.address(1))
}

// A container sends from no address but its own: what it sends from another is not carried, and the chains see it.
func TestSourceIsTheContainers(t *testing.T) {
	a, b := sites(t)
	a.keep(t)
	a.awaitCarried(t, true, b.containers[0], b.address(1))
	a.containers[0].Sh(t, "ip", "addr", "add", a.address(2).String()+"/32", "dev", "eth0")
	before := a.counted(t)
	for range 20 {
		if err := a.containers[0].Do(func() error {
			c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.address(2), 0)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(b.address(1), 9)))
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.Write([]byte("not mine"))
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if after := a.counted(t); after != before {
		t.Errorf("%d packets from another's address were carried", after-before)
	}
}

// Nothing is carried when the lease was not renewed, as by an agent that hangs.
func TestLeaseEnds(t *testing.T) {
	p, err := load()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	k := &Keeper{path: p}
	k.turn(true, "")
	if k.late() {
		t.Error("a lease that was just given has ended")
	}
	k.renewed = time.Now().Add(-lease)
	if !k.late() {
		t.Error("a lease that ran out is prolonged without a look")
	}
	k.turn(false, "test")
	var until uint64
	if err := k.path.lease.Lookup(uint32(0), &until); err != nil || until != 0 {
		t.Errorf("lease until %d, error %v, after it was ended", until, err)
	}
}

// Where the kernel has no tcx, a filter of tc does the same: what a killed process has left is no reason to leave a link out, and is replaced.
func TestFilterOfTC(t *testing.T) {
	a, b := sites(t)
	p, err := load()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	grows := func() bool {
		before, err := p.count()
		if err == nil {
			err = exchange(t, a.containers[0], b.containers[0], b.address(1))
		}
		after, failed := p.count()
		if err = errors.Join(err, failed); err != nil {
			t.Fatal(err)
		}
		return after > before
	}
	var filters []io.Closer
	on := func(f func(k *kernel.Kernel, found map[uint32]candidate) error) {
		t.Helper()
		if err := a.Do(func() error {
			k, err := kernel.Open("")
			if err != nil {
				return err
			}
			defer k.Close()
			found, err := candidates(k)
			if err == nil && len(found) != 3 {
				err = fmt.Errorf("%d links are candidates, want two containers' and the device", len(found))
			}
			if err != nil {
				return err
			}
			return f(k, found)
		}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		filters = nil
		on(func(k *kernel.Kernel, found map[uint32]candidate) error {
			members := map[uint32]memberOf{}
			for index, c := range found {
				members[index] = c.memberOf
				f, err := attachFilter(k, c.Link, p.program.FD())
				if err != nil {
					return err
				}
				filters = append(filters, f)
			}
			return errors.Join(agree(p.members, members), p.carry(time.Hour))
		})
		if !grows() {
			t.Error("nothing is carried")
		}
	}
	if err := p.carry(0); err != nil {
		t.Fatal(err)
	}
	if grows() {
		t.Error("packets are carried without a lease")
	}
	on(func(*kernel.Kernel, map[uint32]candidate) (err error) {
		for _, f := range filters {
			err = errors.Join(err, f.Close())
		}
		return err
	})
	if left := a.Sh(t, "tc", "qdisc", "show"); strings.Contains(left, "clsact") {
		t.Errorf("left: %s", left)
	}
}
