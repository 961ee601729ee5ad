package wgtun_test

import (
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/fairway-cni/fairway/pkg/wgkey"
	"github.com/fairway-cni/fairway/pkg/wgtun"
)

func TestMain(m *testing.M) { testnet.Run(m) }

// Addresses of two hosts behind their WireGuard devices.
var inside4, inside6 = [2]netip.Addr{netip.MustParseAddr("10.99.0.1"), netip.MustParseAddr("10.99.0.2")}, [2]netip.Addr{netip.MustParseAddr("fd99::1"), netip.MustParseAddr("fd99::2")}

// sealed are two hosts that have nothing but WireGuard of this process between them.
func sealed(t testing.TB) (hosts [2]*testnet.Namespace) {
	t.Helper()
	var keys [2]wgkey.Private
	for i, name := range []string{"near", "far"} {
		hosts[i] = testnet.NewNS(t, name)
		key, err := wgkey.Generate()
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = key
	}
	hosts[0].Sh(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", filepath.Base(hosts[1].Path))
	underlay := [2]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}
	for i, host := range hosts {
		host.Sh(t, "sh", "-c", "ip link set lo up && ip link set eth0 up && ip addr add "+underlay[i].String()+"/24 dev eth0")
		devices, private, port, to := wgtun.New(), wgtypes.Key(keys[i]), overlay.DefaultWireguardPort, 1-i
		t.Cleanup(devices.Close)
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = "wg0", 1440
		if err := host.Do(func() error {
			if err := devices.Make(nil, attrs); err != nil {
				return err
			}
			return devices.Configure("wg0", wgtypes.Config{PrivateKey: &private, ListenPort: &port, Peers: []wgtypes.PeerConfig{{
				PublicKey: wgtypes.Key(keys[to].Public()), Endpoint: net.UDPAddrFromAddrPort(netip.AddrPortFrom(underlay[to], uint16(port))),
				AllowedIPs: []net.IPNet{{IP: inside4[to].AsSlice(), Mask: net.CIDRMask(32, 32)}, {IP: inside6[to].AsSlice(), Mask: net.CIDRMask(128, 128)}},
			}}})
		}); err != nil {
			t.Fatal(err)
		}
		host.Sh(t, "sh", "-c", "ip link set wg0 up && ip addr add "+inside4[i].String()+"/24 dev wg0 && ip addr add "+inside6[i].String()+"/64 dev wg0 nodad")
	}
	return hosts
}

// connected gives both ends of a connection between two hosts.
func connected(b *testing.B) (near, far net.Conn) {
	b.Helper()
	hosts := sealed(b)
	var listener net.Listener
	if err := hosts[1].Do(func() (err error) {
		listener, err = net.Listen("tcp", netip.AddrPortFrom(inside4[1], 0).String())
		return err
	}); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = listener.Close() }() // the connection stays
	err := hosts[0].Do(func() (err error) {
		near, err = net.DialTimeout("tcp", listener.Addr().String(), 20*time.Second)
		return err
	})
	if err == nil {
		far, err = listener.Accept()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near, far
}

// BenchmarkStream is what 128 KiB of a stream take: go test -bench Stream -cpuprofile FILE shows of what.
func BenchmarkStream(b *testing.B) {
	near, far := connected(b)
	const chunk = 128 << 10
	go func() {
		for buffer := make([]byte, chunk); ; {
			if _, err := near.Write(buffer); err != nil {
				return // closed
			}
		}
	}()
	buffer := make([]byte, chunk)
	b.SetBytes(chunk)
	before := processorTime(b)
	for b.Loop() {
		if _, err := io.ReadFull(far, buffer); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((processorTime(b)-before).Seconds()/(float64(b.N)*chunk/1e9), "s/GB")
}

// processorTime is what this process has had of a processor: both ends, and what the kernel does for them.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkRoundTrip is a byte there and back.
func BenchmarkRoundTrip(b *testing.B) {
	near, far := connected(b)
	go func() { _, _ = io.Copy(far, far) }() // until it is closed
	for one := []byte{0}; b.Loop(); {
		if _, err := near.Write(one); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(near, one); err != nil {
			b.Fatal(err)
		}
	}
}
