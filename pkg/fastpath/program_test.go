package fastpath

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// redirect is the verdict TC_ACT_REDIRECT.
const redirect = 7

// packet is a frame as a container or a device hands it to the host, and what is odd about it.
type packet struct {
	six               bool
	toOther           bool // of the host, or another MAC
	options, fragment bool
	hops              uint8
	protocol          uint8
	port              uint16
	source, target    netip.Addr
	short             bool // without the whole of its headers
	size              int  // of what follows them
	number            uint16
}

// plain says of a packet whether it is one that the program may carry, when routes lead from link to link of the network.
func (p packet) plain(routed bool) bool {
	switch {
	case p.toOther, p.options, p.fragment, p.hops <= 1, p.short, !routed:
		return false
	case p.protocol == unix.IPPROTO_UDP:
		return p.port != 4789 && p.fits()
	}
	return p.protocol == unix.IPPROTO_TCP && p.fits()
}

func (p packet) length() int {
	if p.six {
		return ip6Header + portsBytes + p.size
	}
	return ip4Header + portsBytes + p.size
}

func (p packet) fits() bool { return p.length() <= 1450 }

// frame is the packet as bytes.
func (p packet) frame(host net.HardwareAddr) []byte {
	mac := append(net.HardwareAddr{}, host...)
	if p.toOther {
		mac[5] ^= 1
	}
	b := append(append([]byte{}, mac...), 2, 0, 0, 0, 0, 99)
	if p.six {
		b = binary.BigEndian.AppendUint16(b, unix.ETH_P_IPV6)
		b = append(b, 0x60, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(portsBytes+p.size))
		next := p.protocol
		if p.fragment {
			next = unix.IPPROTO_FRAGMENT
		} else if p.options {
			next = unix.IPPROTO_HOPOPTS
		}
		b = append(b, next, p.hops)
		b = append(append(b, p.source.AsSlice()...), p.target.AsSlice()...)
	} else {
		b = binary.BigEndian.AppendUint16(b, unix.ETH_P_IP)
		first, flags := byte(0x45), uint16(0x4000)
		if p.options {
			first = 0x46
		}
		if p.fragment {
			flags = 0x2000
		}
		b = append(b, first, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(ip4Header+portsBytes+p.size))
		b = binary.BigEndian.AppendUint16(b, p.number)
		b = binary.BigEndian.AppendUint16(b, flags)
		b = append(b, p.hops, p.protocol, 0, 0)
		b = append(append(b, p.source.AsSlice()...), p.target.AsSlice()...)
		binary.BigEndian.PutUint16(b[24:], ^sum(b[ethHeader:ethHeader+ip4Header]))
	}
	if p.short {
		return append(b, 1, 2, 3, 4)
	}
	b = binary.BigEndian.AppendUint16(b, 1234)
	b = binary.BigEndian.AppendUint16(b, p.port)
	return append(b, make([]byte, 4+p.size)...)
}

// sum is the one's complement sum of a header (RFC 1071).
func sum(b []byte) uint16 {
	var s uint32
	for i := 0; i < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// context is struct __sk_buff as BPF_PROG_TEST_RUN takes it.
type skbContext struct {
	_       [skbIfindex / 4]uint32
	Ifindex uint32
	_       [192/4 - skbIfindex/4 - 1]uint32
}

// Whatever packets come by a container's link or the device, those are carried that a model says, with the headers that a router gives them.
func TestProgram(t *testing.T) {
	a, b := sites(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// MACs of neighbours are known when somebody has sent.
	for _, to := range []netip.Addr{a.address(2), a.address6(2), b.address(1), b.address6(1)} {
		at := a.containers[1]
		if to == b.address(1) || to == b.address6(1) {
			at = b.containers[0]
		}
		if err := exchange(t, a.containers[0], at, to); err != nil {
			t.Fatal(err)
		}
	}
	p, err := load()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := a.Do(func() error { return tryPackets(t, p, a, b) }); err != nil {
		t.Fatal(err)
	}
}

// tried is how many packets.
const tried = 20000

func tryPackets(t *testing.T, p *path, a, b *site) error {
	k, err := kernel.Open("")
	if err != nil {
		return err
	}
	defer k.Close()
	found, err := candidates(k)
	if err != nil {
		return err
	}
	members, links := map[uint32]memberOf{}, map[string]candidate{}
	for index, c := range found {
		members[index], links[c.Attrs().Name] = c.memberOf, c
	}
	if err := agree(p.tunnels, map[uint32]bool{uint32(binary.NativeEndian.Uint16([]byte{4789 >> 8, 4789 & 0xff})): true}); err != nil {
		return err
	}
	if err := p.carry(1 << 40); err != nil {
		return err
	}
	places := []struct {
		v4, v6 netip.Addr
		link   string // that leads there
	}{
		{a.address(1), a.address6(1), "c1"}, {a.address(2), a.address6(2), "c2"}, {b.address(1), b.address6(1), "fwvx42"},
		{a.address(77), a.address6(77), ""}, {a.address(0), a.address6(0), ""},
		{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::1"), ""},
		{netip.MustParseAddr("224.0.0.9"), netip.MustParseAddr("ff02::1"), ""}, {netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("fe80::1"), ""},
	}
	random, carried, apart := rand.New(rand.NewPCG(7, 8)), 0, true
	chance := func(of int) bool { return random.IntN(of) == 0 }
	for n := range tried {
		if n%(tried/4) == 0 { // the second container is on another network half of the time
			apart = !apart
			members[uint32(links["c2"].Attrs().Index)] = memberOf{Network: map[bool]uint32{false: 42, true: 43}[apart]}
			if err := agree(p.members, members); err != nil {
				return err
			}
		}
		at := []string{"c1", "c2", "fwvx42"}[random.IntN(3)]
		from, to := places[random.IntN(3)], places[random.IntN(len(places))]
		if chance(3) {
			from = places[random.IntN(len(places))]
		} else {
			at = from.link
		}
		one := packet{
			six: chance(2), toOther: chance(40), options: chance(40), fragment: chance(40), short: chance(40), hops: uint8(1 + random.IntN(4)*21),
			protocol: []uint8{unix.IPPROTO_TCP, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMP, unix.IPPROTO_SCTP}[random.IntN(5)],
			number:   uint16(random.Uint32()),
			port:     []uint16{80, 4789, 65535}[random.IntN(3)], source: from.v4, target: to.v4,
			size: []int{0, 100, 1450 - 28, 1450 - 27, 1450 - 48, 1450 - 47, 1450 - 44}[random.IntN(7)],
		}
		if one.six {
			one.source, one.target = from.v6, to.v6
		}
		routed := from.link == at && to.link != "" && to.link != at && (!apart || at != "c2" && to.link != "c2")
		verdict, out, err := run(p.program, links[at], one)
		if err != nil {
			return err
		}
		want := one.plain(routed)
		if got := verdict == redirect; got != want {
			t.Errorf("%+v, by %s: verdict %d, want carried: %t", one, at, int32(verdict), want)
			continue
		}
		if want {
			carried++
			checkHeaders(t, one, links[to.link], out)
		}
	}
	if carried < 500 {
		t.Errorf("of %d packets, %d were carried: these say nothing", tried, carried)
	}
	return p.carry(0)
}

func run(program *ebpf.Program, by candidate, p packet) (verdict uint32, out []byte, err error) {
	out = make([]byte, 2048)
	o := ebpf.RunOptions{Data: p.frame(by.Attrs().HardwareAddr), DataOut: out, Context: skbContext{Ifindex: uint32(by.Attrs().Index)}}
	verdict, err = program.Run(&o)
	return verdict, o.DataOut, err
}

// checkHeaders: the MAC is the one of the link that the packet leaves by, a hop is gone, and the checksum is right.
func checkHeaders(t *testing.T, p packet, to candidate, out []byte) {
	t.Helper()
	if from := net.HardwareAddr(out[6:12]); from.String() != to.Attrs().HardwareAddr.String() {
		t.Errorf("%+v: from MAC %s, want that of %s", p, from, to.Attrs().Name)
	}
	hops := out[ethHeader+8]
	if p.six {
		hops = out[ethHeader+7]
	}
	if hops != p.hops-1 {
		t.Errorf("%+v: %d hops are left", p, hops)
	}
	if !p.six && sum(out[ethHeader:ethHeader+ip4Header]) != 0xffff {
		t.Errorf("%+v: checksum of the header is wrong: % x", p, out[ethHeader:ethHeader+ip4Header])
	}
}
