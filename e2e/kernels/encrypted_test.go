package kernels

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/fairway-cni/fairway/pkg/state/wireguard"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// patience is for what should come, also where a CPU is emulated.
const patience = time.Minute

// encryptedHosts are two hosts with a key each, and the configuration of a network over them for each, which differs by nothing but its
// key file.
func encryptedHosts(t *testing.T, underlay string) (*testnet.Hosts, conf) {
	t.Helper()
	hosts := testnet.NewHosts(t, 2, binDir)
	var peers []conf
	for i, h := range hosts.All {
		h.Sh(t, "mkdir", "-p", "/etc/fairway")
		key := strings.TrimSpace(fairway(t, h.Namespace, "overlay", "genkey", "/etc/fairway/key"))
		vtep := h.V4
		if underlay == "IPv6" {
			vtep = h.V6
		}
		peers = append(peers, conf{
			"vtep": vtep.String(), "publicKey": key, "subnets": families(fmt.Sprintf("10.42.%d.0/24", i+1), fmt.Sprintf("fd42:0:0:%d::/64", i+1)),
		})
	}
	return hosts, network("overlay-vxlan", "secret", conf{
		"vni": 43, "subnets": families("10.42.0.0/16", "fd42::/48"), "peers": peers, "encrypted": true, "privateKeyFile": "/etc/fairway/key",
	})
}

// families are those that the kernel has.
func families(v4, v6 string) []string {
	if !testnet.HasIPv6() {
		return []string{v4}
	}
	return []string{v4, v6}
}

// plain is the same network without encryption, in other subnets.
func plain(c conf) conf {
	p := conf{}
	for key, value := range c {
		if key != "encrypted" && key != "privateKeyFile" {
			p[key] = value
		}
	}
	p["name"], p["vni"], p["subnets"] = "clear", 44, families("10.44.0.0/16", "fd44::/48")
	var peers []conf
	for i, peer := range c["peers"].([]conf) {
		peers = append(peers, conf{"vtep": peer["vtep"], "subnets": families(fmt.Sprintf("10.44.%d.0/24", i+1), fmt.Sprintf("fd44:0:0:%d::/64", i+1))})
	}
	p["peers"] = peers
	return p
}

// speak has two containers speak by each of their addresses.
func speak(t *testing.T, from, to *attachment, want bool) {
	t.Helper()
	within := 2 * time.Second
	if want {
		within = patience
	}
	for _, ip := range to.result.IPs {
		addr := ip.Address.IP.String()
		if err := testnet.Speak(from.container, to.container, address(t, addr), within); (err == nil) != want {
			t.Errorf("from %s to %s: %v", from.id, addr, err)
		}
	}
}

// TestSmokeEncryptedOverlay: containers of an encrypted network speak, and a capture on the underlay shows nothing of it. That of a
// network without encryption shows it, which proves that the test would see it.
func TestSmokeEncryptedOverlay(t *testing.T) { encryptedOverlay(t, "IPv4") }

// TestEncryptedOverlayIPv6 is the same over an underlay of IPv6.
func TestEncryptedOverlayIPv6(t *testing.T) { encryptedOverlay(t, "IPv6") }

func encryptedOverlay(t *testing.T, underlay string) {
	hosts, c := encryptedHosts(t, underlay)
	one, two := hosts.All[0], hosts.All[1]
	// What others accept first changes nothing.
	for _, h := range hosts.All {
		h.Sh(t, "nft", `table inet theirs { chain in { type filter hook input priority -300; udp dport 4789 accept; }; chain out { type filter hook output priority -300; accept; }; }`)
	}
	watch := hosts.Watch(t)
	a := attachOn(t, one, "a", c)
	for _, addr := range families("10.42.2.9", "fd42:0:0:2::9") { // on a host that does not know of the network yet
		if err := testnet.Speak(a.container, a.container, address(t, addr), time.Second); err == nil {
			t.Errorf("%s answers", addr)
		}
	}
	b := attachOn(t, two, "b", c)
	speak(t, a, b, true)
	speak(t, b, a, true)
	a.succeed(t, "CHECK")
	mtu := map[string]string{"IPv4": "mtu 1440", "IPv6": "mtu 1420"}[underlay]
	if link := ip(t, one.Namespace, "link show fwwg43"); !strings.Contains(link, mtu) {
		t.Errorf("not %s: %s", mtu, link)
	}

	foreignSource(t, one, two, a)
	damaged(t, one, a, b)
	if seen := watch.Seen(t); len(seen) > 0 {
		t.Errorf("of an encrypted network the underlay shows %v", seen)
	}

	p := plain(c)
	x, y := attachOn(t, one, "x", p), attachOn(t, two, "y", p)
	speak(t, x, y, true)
	if seen := watch.Seen(t); !slices.Contains(seen, testnet.SawPlaintext) || !slices.Contains(seen, testnet.SawVXLAN+"44") {
		t.Errorf("of a network without encryption the underlay shows %v: the test proves nothing", seen)
	}
	speak(t, a, b, true)

	removed(t, one, a, x)
}

// TestEncryptedIdleInKernel: after a time without a packet no host has a session, nor knows a neighbour. The first packets of each family arrive, by a
// new handshake, and none is lost or seen. The time is compressed: a private key that is another for a moment has all sessions expire, as
// RejectAfterTime has.
func TestEncryptedIdleInKernel(t *testing.T) {
	hosts, c := encryptedHosts(t, "IPv4")
	watch := hosts.Watch(t)
	a, b := attachOn(t, hosts.All[0], "a", c), attachOn(t, hosts.All[1], "b", c)
	speak(t, a, b, true)
	for _, ip := range b.result.IPs {
		before := handshake(t, hosts.All[0])
		for _, h := range hosts.All {
			expire(t, h)
			h.Sh(t, "ip", "neigh", "flush", "all")
		}
		a.container.Sh(t, "ip", "neigh", "flush", "all")
		addr := address(t, ip.Address.IP.String())
		flow, err := testnet.StartFlow(a.container, b.container, addr)
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(patience); flow.Count() < 10 && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond) // for what the other namespace receives
		}
		if err := flow.Stop(patience); err != nil {
			t.Errorf("to %v: %v", addr, err)
		}
		if after := handshake(t, hosts.All[0]); !after.After(before) {
			t.Errorf("to %v: the last handshake was at %v before and is at %v: what has arrived had a session", addr, before, after)
		}
	}
	if seen := watch.Seen(t); len(seen) > 0 {
		t.Errorf("of an encrypted network the underlay shows %v", seen)
	}
	p := plain(c)
	x, y := attachOn(t, hosts.All[0], "x", p), attachOn(t, hosts.All[1], "y", p)
	speak(t, x, y, true)
	if seen := watch.Seen(t); !slices.Contains(seen, testnet.SawPlaintext) {
		t.Errorf("of a network without encryption the underlay shows %v: the test proves nothing", seen)
	}
}

// expire has the sessions of a host's device end.
func expire(t *testing.T, h *testnet.Host) {
	t.Helper()
	if err := h.Do(func() error {
		d, err := wireguard.Kernel{}.Device("fwwg43")
		if err != nil {
			return err
		}
		own := d.PrivateKey
		for _, key := range []*wgtypes.Key{{8}, &own} {
			if err := (wireguard.Kernel{}).Configure("fwwg43", wgtypes.Config{PrivateKey: key}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// handshake is when a host's last one with the other was.
func handshake(t *testing.T, h *testnet.Host) (at time.Time) {
	t.Helper()
	if err := h.Do(func() error {
		d, err := wireguard.Kernel{}.Device("fwwg43")
		if err == nil {
			at = d.Peers[0].LastHandshakeTime
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return at
}

// foreignSource: a host with a valid key sends from an address of no block of its own.
func foreignSource(t *testing.T, one, two *testnet.Host, to *attachment) {
	t.Helper()
	ip(t, two.Namespace, "addr add 10.42.77.7/32 dev fwwg43")
	ip(t, one.Namespace, "route add 10.42.77.7/32 dev fwwg43")
	if out, err := two.Command("busybox", "ping", "-c", "1", "-W", "2", "-I", "10.42.77.7", to.result.IPs[0].Address.IP.String()).CombinedOutput(); err == nil {
		t.Errorf("a host sends from an address that is not its own:\n%s", out)
	}
	ip(t, one.Namespace, "route del 10.42.77.7/32 dev fwwg43")
}

// damaged: what is left when parts are taken away refuses, and CHECK puts them back.
func damaged(t *testing.T, one *testnet.Host, a, b *attachment) {
	t.Helper()
	for _, damage := range []string{"ip link del fwwg43", "ip route flush proto 250 dev fwwg43; ip -6 route flush proto 250 dev fwwg43 || true", "ip link set fwwg43 down"} {
		one.Sh(t, "sh", "-c", damage)
		speak(t, a, b, false)
		if out, err := a.call("CHECK", nil); err != nil { // which repairs, and says so
			t.Errorf("after %s CHECK: %v\n%s", damage, err, out)
		}
		speak(t, a, b, true)
	}
}

// removed: nothing is left of networks without containers.
func removed(t *testing.T, one *testnet.Host, all ...*attachment) {
	t.Helper()
	for _, gone := range all {
		gone.succeed(t, "DEL")
		gone.collect(t)
		leavesNothing(t, one.Namespace, gone.conf["name"].(string))
	}
	left := one.Sh(t, "sh", "-c", "ip -o link; ip route; ip -6 route || true; nft list ruleset")
	for _, text := range []string{"fwwg", "10.42.", "fd42:", "fairway-overlay"} {
		if strings.Contains(left, text) {
			t.Errorf("%s is left:\n%s", text, left)
		}
	}
}

func address(t *testing.T, text string) netip.Addr {
	t.Helper()
	addr, err := netip.ParseAddr(text)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}
