package wgtun_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/fairway-cni/fairway/pkg/wgtun"
)

// TestDeviceIsUpWhenConfigured: what becomes of its link opens no socket, at a port that nobody has asked for.
func TestDeviceIsUpWhenConfigured(t *testing.T) {
	host := testnet.NewHost(t)
	devices := wgtun.New()
	t.Cleanup(devices.Close)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = "wg0", 1440
	if err := host.Do(func() error { return devices.Make(nil, attrs) }); err != nil {
		t.Fatal(err)
	}
	host.Sh(t, "sh", "-c", "ip link set wg0 up && ip link set wg0 down && ip link set wg0 up mtu 1400")
	time.Sleep(200 * time.Millisecond) // nothing tells that WireGuard has heard of it
	if d, err := devices.Device("wg0"); err != nil || d.ListenPort != 0 {
		t.Errorf("a device that was not configured listens: %+v, %v", d, err)
	}
}

// TestChecksumOfZero: packets of UDP over IPv6 arrive, whatever their checksum is: of 0 as well, and where the sender wants none.
func TestChecksumOfZero(t *testing.T) {
	hosts := sealed(t)
	near, far := netip.AddrPortFrom(inside6[0], 1111), netip.AddrPortFrom(inside6[1], 2222)
	var sender, receiver *net.UDPConn
	for i, open := range []func() error{
		func() (err error) {
			sender, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(near), net.UDPAddrFromAddrPort(far))
			return err
		},
		func() (err error) { receiver, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(far)); return err },
	} {
		if err := hosts[i].Do(open); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _, _ = sender.Close(), receiver.Close() })
	greet(t, sender, receiver)
	sum := checksum(near, far, 2)
	for _, payload := range []uint16{1, sum, sum + 1, sum - 1} { // with sum, the checksum is 0
		if _, err := sender.Write(binary.BigEndian.AppendUint16(nil, payload)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 2)
		if err := receiver.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := receiver.Read(got); err != nil || binary.BigEndian.Uint16(got) != payload {
			t.Errorf("%#x does not arrive: %x, %v", payload, got, err)
		}
	}
}

// greet sends until something arrives, as a kernel under load has an address some time after it was added, and takes all that was under way.
func greet(t *testing.T, sender, receiver *net.UDPConn) {
	t.Helper()
	const patience = 300 * time.Millisecond
	arrived := false
	for deadline := time.Now().Add(20 * time.Second); ; {
		if !arrived {
			if _, err := sender.Write([]byte("greeting")); err != nil {
				t.Fatal(err)
			}
		}
		if err := receiver.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		_, err := receiver.Read(make([]byte, 8))
		switch {
		case err == nil:
			arrived = true
		case arrived:
			return
		case time.Now().After(deadline):
			t.Fatal("nothing arrives")
		}
	}
}

// checksum is that of a packet of UDP with a number of bytes, all 0.
func checksum(from, to netip.AddrPort, size int) uint16 {
	const header, udp = 8, 17
	sum := uint32(from.Port()) + uint32(to.Port()) + 2*uint32(header+size) + udp // the length is in the pseudo header, too
	for _, addr := range []netip.Addr{from.Addr(), to.Addr()} {
		for words := addr.AsSlice(); len(words) > 0; words = words[2:] {
			sum += uint32(binary.BigEndian.Uint16(words))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
