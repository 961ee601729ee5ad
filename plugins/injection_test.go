package plugins

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// vxlanPort is RFC 7348's.
const vxlanPort = 4789

// udp4 is a packet of UDP over IPv4.
func udp4(from, to string, port uint16, payload []byte) []byte {
	ip := []byte{0x45, 0, 0, 0, 0, 1, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
	ip = append(append(ip, netip.MustParseAddr(from).AsSlice()...), netip.MustParseAddr(to).AsSlice()...)
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+8+len(payload)))
	binary.BigEndian.PutUint16(ip[10:], ^sum(ip))
	return append(ip, datagram(port, payload)...) // without a sum, as RFC 768 allows
}

// datagram is UDP without a checksum.
func datagram(port uint16, payload []byte) []byte {
	udp := binary.BigEndian.AppendUint16(nil, 5555)
	udp = binary.BigEndian.AppendUint16(udp, port)
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(payload)))
	return append(append(udp, 0, 0), payload...)
}

// sum is that of RFC 1071.
func sum(data []byte) uint16 {
	var all uint32
	for i := 0; i < len(data); i += 2 {
		all += uint32(data[i]) << 8
		if i+1 < len(data) {
			all += uint32(data[i+1])
		}
	}
	for all>>16 != 0 {
		all = all>>16 + all&0xffff
	}
	return uint16(all)
}

// encapsulated is a packet as a peer sends it to the container with an address behind a VTEP of network net. Whatever is
// needed for that is public.
func encapsulated(vtep, from, to, mark string) []byte {
	const vni = 4096
	frame := binary.BigEndian.AppendUint32(nil, 0x08000000) // the VNI is there
	frame = binary.BigEndian.AppendUint32(frame, vni<<8)
	frame = append(frame, overlay.VTEPMAC(vni, netip.MustParseAddr(vtep))...)
	frame = append(frame, 2, 0, 0, 0, 0, 0x99, 8, 0) // from anybody, IPv4
	return append(frame, udp4(from, to, 9999, []byte(mark))...)
}

// sendRaw sends a packet of IPv4 with whatever source it has, as CAP_NET_RAW allows to, which containers have by default.
func sendRaw(t *testing.T, from *testnet.Namespace, packet []byte) {
	t.Helper()
	err := from.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, packet, 0, &unix.SockaddrInet4{Addr: [4]byte(packet[16:20])})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sendUDP sends by an ordinary socket, without any privilege.
func sendUDP(t *testing.T, from *testnet.Namespace, to string, port int, payload []byte) {
	t.Helper()
	err := from.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, payload, 0, &unix.SockaddrInet4{Port: port, Addr: netip.MustParseAddr(to).As4()})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Marks of packets that may arrive, and of such that may not.
const rightful, wrongful = "sent rightfully", "sent wrongfully"

// wantRightful expects the packet that was sent rightfully, and not the other, which was sent before. One may be lost to a
// question for a neighbour: both are sent until the first arrives.
func wantRightful(t *testing.T, at *testnet.Capture, send func(mark string)) {
	t.Helper()
	wrong := false
	match := func(mark string) func([]byte) bool {
		return func(frame []byte) bool {
			wrong = wrong || bytes.Contains(frame, []byte(wrongful))
			return bytes.Contains(frame, []byte(mark))
		}
	}
	arrived := false
	for tries := 20; tries > 0 && !arrived; tries-- {
		send(wrongful)
		send(rightful)
		arrived = at.Await(t, time.Second, match(rightful))
	}
	if !arrived {
		t.Error("what was sent rightfully has not arrived")
	}
	send(wrongful)
	if at.Await(t, 300*time.Millisecond, match(wrongful)) || wrong {
		t.Error("what was sent wrongfully has arrived")
	}
}

// intruderOn is a container of an isolated bridge network that masquerades.
func intruderOn(t *testing.T, host *testnet.Namespace) *testnet.Namespace {
	t.Helper()
	intruder := testnet.NewNS(t, "intruder")
	a := bridgeOn(t, intruder).with("name", "other").with("isolated", true)
	a.host = host
	a.add(t)
	return intruder
}

// TestInjectionThroughMasquerade: a host is a peer, and what it forwards for a container of another network seems to come
// from it.
func TestInjectionThroughMasquerade(t *testing.T) {
	u := newUnderlay(t, false)
	h1, h2 := u.host(t, 1), u.host(t, 2)
	overlayOn(t, u, h1, testnet.NewNS(t, "c1")).with("internal", true).add(t)
	c2 := testnet.NewNS(t, "c2")
	v4, _ := addressesOf(t, overlayOn(t, u, h2, c2).with("internal", true).add(t))
	intruder := intruderOn(t, h1)
	wire, inside := h2.Capture(t, "eth0"), c2.Capture(t, "eth0")
	from := map[string]*testnet.Namespace{rightful: h1, wrongful: intruder}
	send := func(mark string) {
		sendUDP(t, from[mark], u.vtep(2), vxlanPort, encapsulated(u.vtep(2), "10.42.1.200", v4, mark))
	}
	wantRightful(t, inside, send)
	// The way is open to the intruder, and leads there with the host's address.
	isPeers := func(frame []byte) bool {
		return len(frame) > 38 && bytes.Equal(frame[26:30], netip.MustParseAddr(u.vtep(1)).AsSlice()) &&
			binary.BigEndian.Uint16(frame[36:]) == vxlanPort+1 && bytes.Contains(frame, []byte(wrongful))
	}
	sendUDP(t, intruder, u.vtep(2), vxlanPort+1, encapsulated(u.vtep(2), "10.42.1.200", v4, wrongful))
	if !wire.Await(t, 20*time.Second, isPeers) {
		t.Error("the intruder does not reach the other host at all")
	}
}

// TestInjectionAsAPeer: a container of another network sends to its own host with a peer's address.
func TestInjectionAsAPeer(t *testing.T) {
	u := newUnderlay(t, false)
	h1, h2 := u.host(t, 1), u.host(t, 2)
	c1 := testnet.NewNS(t, "c1")
	v4, _ := addressesOf(t, overlayOn(t, u, h1, c1).add(t))
	from := map[string]*testnet.Namespace{rightful: h2, wrongful: intruderOn(t, h1)}
	for _, filter := range []int{0, 1, 2} {
		t.Run(fmt.Sprint("rp_filter-", filter), func(t *testing.T) {
			h1.Sh(t, "sh", "-c", fmt.Sprintf("for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo %d >$f; done", filter))
			wantRightful(t, c1.Capture(t, "eth0"), func(mark string) {
				sendRaw(t, from[mark], udp4(u.vtep(2), u.vtep(1), vxlanPort, encapsulated(u.vtep(1), "10.42.2.200", v4, mark)))
			})
		})
	}
}

// TestInjectionByFragments: in IPv6, filters see each fragment by itself. Without masquerade nothing puts them together before.
func TestInjectionByFragments(t *testing.T) {
	u := newUnderlay(t, true)
	h1, h2, h3 := u.host(t, 1), u.host(t, 2), u.host(t, 3)
	c1 := testnet.NewNS(t, "c1")
	v4, _ := addressesOf(t, overlayOn(t, u, h1, c1).with("ipMasq", false).add(t))
	from := map[string]*testnet.Namespace{rightful: h2, wrongful: h3}
	source := map[string]string{rightful: u.vtep(2), wrongful: u.vtep(3)}
	link := map[string]*testnet.Capture{rightful: h2.Capture(t, "eth0"), wrongful: h3.Capture(t, "eth0")}
	for _, n := range from {
		reaches(t, n, u.vtep(1))
	}
	var id uint32
	send := func(mark string, cut int) {
		id++
		ethernet := append(mac(t, h1), mac(t, from[mark])...)
		for _, packet := range fragments(source[mark], u.vtep(1), encapsulated(u.vtep(1), "10.42.2.200", v4, mark), cut, id) {
			link[mark].Send(t, append(append(bytes.Clone(ethernet), 0x86, 0xdd), packet...))
		}
	}
	for name, cut := range map[string]int{"whole": 0, "behind the VNI": 16, "behind the inner header": 48} {
		t.Run(name, func(t *testing.T) { wantRightful(t, c1.Capture(t, "eth0"), func(mark string) { send(mark, cut) }) })
	}
	t.Run("before the VNI", func(t *testing.T) {
		// Nobody sends such, a peer neither; its whole packets arrive.
		wantRightful(t, c1.Capture(t, "eth0"), func(mark string) {
			if mark == wrongful {
				send(mark, 8)
			} else {
				send(mark, 0)
			}
		})
	})
}

// mac is the address of a host's eth0.
func mac(t *testing.T, n *testnet.Namespace) []byte {
	t.Helper()
	var list []struct{ Address string }
	decodeShown(t, n, &list, "link", "show", "dev", "eth0")
	var address [6]byte
	if _, err := fmt.Sscanf(strings.ReplaceAll(list[0].Address, ":", " "), "%x %x %x %x %x %x",
		&address[0], &address[1], &address[2], &address[3], &address[4], &address[5]); err != nil {
		t.Fatal(err)
	}
	return address[:]
}

// fragments is a packet of UDP over IPv6 to VXLAN's port, whole or in two: the first with so many bytes of UDP.
func fragments(from, to string, payload []byte, cut int, id uint32) [][]byte {
	addresses := append(netip.MustParseAddr(from).AsSlice(), netip.MustParseAddr(to).AsSlice()...)
	udp := datagram(vxlanPort, payload)
	pseudo := binary.BigEndian.AppendUint32(bytes.Clone(addresses), uint32(len(udp)))
	pseudo = binary.BigEndian.AppendUint32(pseudo, unix.IPPROTO_UDP)
	binary.BigEndian.PutUint16(udp[6:], ^sum(append(pseudo, udp...)))
	packet := func(next byte, content []byte) []byte {
		ip := binary.BigEndian.AppendUint16([]byte{0x60, 0, 0, 0}, uint16(len(content)))
		return append(append(append(ip, next, 64), addresses...), content...)
	}
	if cut == 0 {
		return [][]byte{packet(unix.IPPROTO_UDP, udp)}
	}
	fragment := func(offset uint16, content []byte) []byte {
		header := binary.BigEndian.AppendUint16([]byte{unix.IPPROTO_UDP, 0}, offset) // in bytes: it is a multiple of 8, shifted by 3
		return packet(unix.IPPROTO_FRAGMENT, append(binary.BigEndian.AppendUint32(header, id), content...))
	}
	return [][]byte{fragment(1, udp[:cut]), fragment(uint16(cut), udp[cut:])} // 1: more follow
}

// TestInjectionWithAForeignSource: a container of an overlay network sends from its own address, to whatever host.
func TestInjectionWithAForeignSource(t *testing.T) {
	u := newUnderlay(t, false)
	h1, h2 := u.host(t, 1), u.host(t, 2)
	sender, near, far := testnet.NewNS(t, "c1"), testnet.NewNS(t, "c2"), testnet.NewNS(t, "c3")
	a := overlayOn(t, u, h1, sender)
	own, _ := addressesOf(t, a.add(t))
	nearest, _ := addressesOf(t, a.on(near, "eth0").add(t))
	farthest, _ := addressesOf(t, overlayOn(t, u, h2, far).add(t))
	for _, foreign := range []string{"10.42.1.200", "10.42.2.200", "10.42.7.7", "198.51.100.1"} {
		source := map[string]string{rightful: own, wrongful: foreign}
		for to, inside := range map[string]*testnet.Capture{nearest: near.Capture(t, "eth0"), farthest: far.Capture(t, "eth0")} {
			t.Run(foreign+" to "+to, func(t *testing.T) {
				wantRightful(t, inside, func(mark string) { sendRaw(t, sender, udp4(source[mark], to, 9999, []byte(mark))) })
			})
		}
	}
}
