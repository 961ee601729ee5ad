package e2e

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// pathMTU: the largest packet passes whole, and of one byte more the sender is told by ICMP.
func (p *pair) pathMTU(t *testing.T) {
	const mtu = 1450
	if shown := p.a.Sh(t, "ip", "link", "show", "eth0"); !strings.Contains(shown, fmt.Sprintf("mtu %d ", mtu)) {
		t.Errorf("want MTU %d:\n%s", mtu, shown)
	}
	// With links that carry more, the host has to say that the way does not.
	h1 := p.hosts[0]
	end := strings.Fields(h1.Sh(t, "ip", "route", "show", p.addrA))[2]
	p.a.Sh(t, "ip", "link", "set", "eth0", "mtu", "1500")
	h1.Sh(t, "ip", "link", "set", end, "mtu", "1500")
	if answered, err := testnet.SendWhole(p.a.Namespace, p.addrB, mtu); err != nil || !answered {
		t.Errorf("a packet of %d bytes: answered %t, %v", mtu, answered, err)
	}
	if _, err := testnet.SendWhole(p.a.Namespace, p.addrB, mtu+1); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("mtu %d", mtu)) {
		t.Errorf("a packet of %d bytes: %v, want an ICMP error with mtu %d", mtu+1, err, mtu)
	}
	p.a.Sh(t, "ip", "link", "set", "eth0", "mtu", fmt.Sprint(mtu))
	h1.Sh(t, "ip", "link", "set", end, "mtu", fmt.Sprint(mtu))
}

// stranger: a machine on the underlay that is no peer sends what a peer would. It gets no further than the host, because of
// the source filter.
func (p *pair) stranger(t *testing.T) {
	h1 := p.hosts[0]
	source, s := p.disguise(t), p.other
	wire, inside := h1.Capture(t, "eth0"), p.a.Capture(t, "eth0")
	send := func() {
		t.Helper()
		_ = s.Command("busybox", "ping", "-c1", "-W1", p.addrA).Run() // the answer goes to the peer
		if !wire.Await(t, patience, isVXLANFrom(s.V4)) {
			t.Fatal("the stranger's packet is not on the wire")
		}
	}
	// What a peer sends afterwards is there afterwards.
	arrived := func() (arrived bool) {
		t.Helper()
		ping(t, p.b.Path, p.addrA)
		if !inside.Await(t, patience, func(frame []byte) bool {
			arrived = arrived || isEchoFrom(source)(frame)
			return isEchoFrom(p.addrB)(frame)
		}) {
			t.Fatal("a peer's packet has not arrived")
		}
		return arrived
	}
	send()
	if arrived() {
		t.Error("a stranger's packet has reached the container")
	}
	h1.Sh(t, "nft", "flush", "chain", "inet", "fairway", "vxlan_input")
	send()
	if !arrived() {
		t.Error("without the filter, the stranger's packet has not reached the container either")
	}
	h1.Sh(t, "ip", "link", "set", fmt.Sprintf("fwvx%d", p.network.VNI), "mtu", "1400") // an event of the network's device
	eventually(t, "the filter is back", func() bool {
		return strings.Contains(h1.try("nft", "list", "chain", "inet", "fairway", "vxlan_input"), "jump")
	})
}

// disguise gives the machine that is no peer a device with the address of one, and says which.
func (p *pair) disguise(t *testing.T) (source string) {
	t.Helper()
	h1, h2 := p.hosts[0], p.hosts[1]
	link := fmt.Sprintf("fwvx%d", p.network.VNI)
	mac := macOf(h1.Sh(t, "ip", "link", "show", link))
	s, source := p.other, h2.address(t, "blue")
	for _, args := range []string{
		fmt.Sprintf("ip link add vx mtu 1450 type vxlan id %d local %s dstport 4789 nolearning", p.network.VNI, s.V4),
		"ip link set vx up",
		"ip addr add " + source + "/32 dev vx",
		"ip neigh add " + p.addrA + " dev vx lladdr " + mac + " nud permanent",
		"bridge fdb add " + mac + " dev vx dst " + h1.V4.String(),
		"ip route add " + p.addrA + " dev vx",
	} {
		fields := strings.Fields(args)
		s.Sh(t, fields[0], fields[1:]...)
	}
	return source
}

// isVXLANFrom matches Ethernet frames with VXLAN over IPv4 (RFC 7348).
func isVXLANFrom(addr netip.Addr) func([]byte) bool {
	source := addr.AsSlice()
	return func(frame []byte) bool {
		return len(frame) > 38 && bytes.Equal(frame[12:14], []byte{8, 0}) && frame[23] == unix.IPPROTO_UDP &&
			bytes.Equal(frame[26:30], source) && bytes.Equal(frame[36:38], []byte{4789 >> 8, 4789 & 0xff})
	}
}

// isEchoFrom matches Ethernet frames with an echo request (RFC 792).
func isEchoFrom(addr string) func([]byte) bool {
	source := netip.MustParseAddr(addr).AsSlice()
	return func(frame []byte) bool {
		return len(frame) > 34 && bytes.Equal(frame[12:14], []byte{8, 0}) && frame[23] == unix.IPPROTO_ICMP &&
			bytes.Equal(frame[26:30], source) && frame[34] == 8
	}
}

// isolated: containers of two networks of the same hosts do not reach each other, on one host nor across hosts.
func (p *pair) isolated(t *testing.T) {
	h1, h2 := p.hosts[0], p.hosts[1]
	p.put(t, h1, overlayNet("green", "10.46.0.0/16"))
	here, addrHere := h1.add(t, "green", "here")
	there, addrThere := h2.add(t, "green", "there")
	ping(t, here.Path, addrThere)
	for _, way := range []struct {
		from guest
		to   string
	}{{p.a, addrHere}, {p.a, addrThere}, {here, p.addrA}, {here, p.addrB}, {there, p.addrA}, {there, p.addrB}} {
		fail(t, commandIn(t, way.from.Path, "busybox", "ping", "-c1", "-W1", way.to))
	}
	ping(t, p.a.Path, p.addrB)
	succeed(t, h1.cni(t, "del", "green", here))
	succeed(t, h2.cni(t, "del", "green", there))
	eventually(t, "the network is deleted", func() bool { return h1.Agent().Delete(t.Context(), "green") == nil })
}

// An underlay of IPv6 takes 20 bytes more from each packet.
func TestAgentsOnIPv6(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, 1)
	for _, h := range c.hosts {
		h.flags["underlay"] = h.V6.String()
	}
	c.start(t)
	h1, h2 := c.hosts[0], c.hosts[1]
	blue := c.put(t, h1, overlayNet("blue", "10.42.0.0/16"))
	if shown := h1.Sh(t, "ip", "-d", "link", "show", fmt.Sprintf("fwvx%d", blue.VNI)); !strings.Contains(shown, "mtu 1430") || !strings.Contains(shown, "local 2001:db8::11") {
		t.Errorf("want MTU 1430 and the local address 2001:db8::11:\n%s", shown)
	}
	a, addrA := h1.add(t, "blue", "a")
	b, addrB := h2.add(t, "blue", "b")
	ping(t, a.Path, addrB)
	ping(t, b.Path, addrA)
}
