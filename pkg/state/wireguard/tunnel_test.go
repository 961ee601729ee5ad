package wireguard_test

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/state/vxlan"
	"github.com/fairway-cni/fairway/pkg/state/wireguard"
	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/fairway-cni/fairway/pkg/wgtun"
)

func TestMain(m *testing.M) { testnet.Run(m) }

// The tests have WireGuard of their process: not every kernel has its own, whose turn is in e2e/kernels.

// key is a private key that begins with a number.
func key(n byte) wgtypes.Key {
	return wgtypes.Key(append([]byte{n &^ 7}, bytes.Repeat([]byte{n | 0x40}, 31)...))
}

// overlay is network secret, with VNI 43, as the host 192.0.2.11 with block 10.43.1.0/24 has it.
func overlay(d wireguard.Driver, peers ...wireguard.Peer) vxlan.Overlay {
	subnets, own := statetest.Prefixes("10.43.0.0/16", "fd43::/48"), netip.MustParsePrefix("10.43.1.0/24")
	return vxlan.Overlay{
		Isolation: ruleset.OverlayIsolation{Network: "secret"},
		Filter:    ruleset.SourceFilter{Network: "secret", VNI: 43, Port: 4789},
		Device:    vxlan.VXLAN{Network: "secret", Name: "fwwg43", VNI: 43, Port: 4789, Local: netip.MustParseAddr("192.0.2.11"), MTU: 1440},
		Peers:     vxlan.PeerTable{VNI: 43, Unreachable: append(subnets, own)},
		Subnets:   subnets,
		Encrypted: &vxlan.Encrypted{
			Filter: ruleset.Encryption{Network: "secret", VNI: 43, Port: 4789, Subnets: subnets},
			Tunnel: wireguard.Tunnel{
				Network: "secret", Name: "fwwg43", Key: key(8), Port: 51840, MTU: 1440, Addresses: []netip.Addr{own.Addr()}, Peers: peers, Driver: d,
			},
		},
	}
}

func tunnel(o vxlan.Overlay) wireguard.Tunnel { return o.Encrypted.Tunnel.(wireguard.Tunnel) }

// peer is the host 192.0.2.n with some blocks.
func peer(n byte, blocks ...string) wireguard.Peer {
	return wireguard.Peer{
		Key: key(n * 8).PublicKey(), Endpoint: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 51840), Prefixes: statetest.Prefixes(blocks...),
	}
}

// host gives a test a host on an underlay, and WireGuard.
func host(t *testing.T) (*kernel.Kernel, *wgtun.Devices) {
	t.Helper()
	testnet.NewHost(t)
	testnet.Sh(t, "sh", "-c", "ip link add eth0 type veth peer name wire && ip addr add 192.0.2.11/24 dev eth0 && ip link set eth0 up && ip link set wire up && ip route add default via 192.0.2.1")
	devices := wgtun.New()
	t.Cleanup(devices.Close)
	return statetest.Open(t, nil), devices
}

func TestTunnel(t *testing.T) {
	k, devices := host(t)
	two, three := peer(12, "10.43.2.0/24", "fd43:0:0:2::/64"), peer(13, "10.43.3.0/24")
	o := overlay(devices, two, three)
	statetest.Drifts(t, nil, o, "link fwwg43 is gone from the host's namespace")
	statetest.Ensure(t, k, o, true)
	statetest.Verifies(t, nil, o)
	statetest.Ensure(t, k, o, false)
	statetest.Shows(t, testnet.Sh(t, "ip", "-d", "link", "show", "fwwg43"), "mtu 1440", "UP", "alias fairway-overlay secret")
	statetest.Shows(t, testnet.Sh(t, "sh", "-c", "ip route; ip -6 route; ip addr show fwwg43"), "10.43.2.0/24 dev fwwg43 proto 250", "10.43.3.0/24 dev fwwg43",
		"fd43:0:0:2::/64 dev fwwg43 proto 250", "unreachable 10.43.0.0/16 proto 250 metric 43", "unreachable fd43::/48", "10.43.1.0/32")

	for _, damage := range []struct{ command, drift string }{
		{"ip link set fwwg43 mtu 1400", "fwwg43 has MTU 1400 instead of 1440"},
		{"ip link set fwwg43 group 7", "fwwg43 is in group 7 instead of"},
		{"ip link set fwwg43 down", "fwwg43 is down"},
		{"ip addr del 10.43.1.0/32 dev fwwg43", "fwwg43 has no address 10.43.1.0/32"},
		{"ip route del 10.43.2.0/24", "route 10.43.2.0/24 through fwwg43 is missing"},
		{"ip route add 10.43.9.0/24 dev fwwg43 proto 250", "route 10.43.9.0/24 through fwwg43 is no peer's"},
		{"ip route del unreachable 10.43.0.0/16", "route unreachable 10.43.0.0/16 is missing"},
		{"ip link del fwwg43", "link fwwg43 is gone"},
		{"nft flush ruleset", "chain encrypted of nftables table inet fairway has not the rules"},
	} {
		testnet.Sh(t, "sh", "-c", damage.command)
		statetest.Drifts(t, nil, o, damage.drift)
		if err := o.Repair(statetest.Open(t, nil)); err != nil {
			t.Errorf("after %s: %v", damage.command, err)
		}
		statetest.Verifies(t, nil, o)
	}

	// Peers and a key that somebody else has given it.
	stranger, other := peer(99, "10.43.99.0/24"), key(16)
	interval := 25 * time.Second
	keepalive := wgtypes.PeerConfig{PublicKey: two.Key, PersistentKeepaliveInterval: &interval}
	for drift, c := range map[string]wgtypes.Config{
		"that is no host of the network":   {Peers: []wgtypes.PeerConfig{{PublicKey: stranger.Key}}},
		"has another private key":          {PrivateKey: &other},
		"keepalive 25s instead of 0s":      {Peers: []wgtypes.PeerConfig{keepalive}},
		"lacks peer " + three.Key.String(): {Peers: []wgtypes.PeerConfig{{PublicKey: three.Key, Remove: true}}},
	} {
		if err := devices.Configure("fwwg43", c); err != nil {
			t.Fatal(err)
		}
		statetest.Drifts(t, nil, o, drift)
		statetest.Ensure(t, statetest.Open(t, nil), o, false)
		statetest.Verifies(t, nil, o)
	}
	statetest.Removes(t, nil, o)
	left := testnet.Sh(t, "sh", "-c", "ip link; ip route; ip -6 route; nft list ruleset")
	statetest.Lacks(t, left, "fwwg", "10.43.", "fd43:", "fairway-overlay")
}

// TestTunnelAdvances from peers to others by the difference, as an agent does, and comes to what a comparison of everything does.
func TestTunnelAdvances(t *testing.T) {
	k, devices := host(t)
	before := overlay(devices, peer(12, "10.43.2.0/24"), peer(13, "10.43.3.0/24"))
	statetest.Apply(t, k, before)
	for _, peers := range [][]wireguard.Peer{
		{peer(12, "10.43.2.0/24", "10.43.8.0/24"), peer(14, "10.43.4.0/24")}, // one more block, one goes, one comes
		{peer(12, "10.43.4.0/24"), peer(14, "10.43.2.0/24", "10.43.8.0/24")}, // they have changed blocks
		{},
		{peer(15, "10.43.2.0/24")},
	} {
		now := overlay(devices, peers...)
		if ok, err := now.Advance(statetest.Open(t, nil), before); !ok || err != nil {
			t.Fatalf("%v, %v", ok, err)
		}
		statetest.Verifies(t, nil, now)
		before = now
	}
	moved := tunnel(before)
	moved.Key = key(16)
	if ok, err := moved.Advance(statetest.Open(t, nil), tunnel(before)); ok || err != nil {
		t.Errorf("with another key: %v, %v", ok, err)
	}
}

// TestTunnelInDoubt: what is in the way is somebody else's, and nothing of the network stays.
func TestTunnelInDoubt(t *testing.T) {
	for command, want := range map[string]string{
		"ip link add fwwg43 type bridge":                                   "link fwwg43 is a bridge, in conflict with the configuration",
		"ip tuntap add fwwg43 mode tun && ip link set fwwg43 alias theirs": `link fwwg43 has the alias "theirs" and is not of network secret`,
		"ip route add 10.43.2.0/24 via 192.0.2.1":                          "subnet 10.43.0.0/16 overlaps the host's route to 10.43.2.0/24 through eth0",
	} {
		t.Run(command, func(t *testing.T) {
			_, devices := host(t)
			testnet.Sh(t, "sh", "-c", command)
			_, err := overlay(devices, peer(12, "10.43.2.0/24")).Ensure(statetest.Open(t, nil))
			statetest.Fails(t, err, state.ErrConflict, want)
			statetest.Lacks(t, testnet.Sh(t, "sh", "-c", "ip route; nft list ruleset"), "unreachable", "fairway-overlay secret")
		})
	}
}

// TestTunnelPortTaken names the port, and leaves nothing.
func TestTunnelPortTaken(t *testing.T) {
	k, devices := host(t)
	theirs := overlay(devices)
	statetest.Apply(t, k, theirs)
	o := overlay(wgtun.New())
	o.Device.Name, o.Device.Network, o.Device.VNI, o.Isolation.Network, o.Filter.Network, o.Filter.VNI, o.Peers.VNI = "fwwg44", "rival", 44, "rival", "rival", 44, 44
	o.Peers.Unreachable, o.Subnets = statetest.Prefixes("10.44.0.0/16"), statetest.Prefixes("10.44.0.0/16")
	second := tunnel(o)
	second.Name, second.Network, second.Addresses = "fwwg44", "rival", nil
	o.Encrypted = &vxlan.Encrypted{Filter: ruleset.Encryption{Network: "rival", VNI: 44, Port: 4789, Subnets: o.Subnets}, Tunnel: second}
	_, err := o.Ensure(statetest.Open(t, nil))
	statetest.Fails(t, err, state.ErrConflict, "its UDP port 51840 is somebody else's on this host")
	statetest.Lacks(t, testnet.Sh(t, "sh", "-c", "ip link; ip route; nft list ruleset"), "fwwg44", "10.44.", "rival")
	statetest.Verifies(t, nil, theirs)
}

// TestTunnelInPlaceOfVXLAN: a network that was made without encryption loses its VXLAN device, and one that is made without it again
// its tunnel.
func TestTunnelInPlaceOfVXLAN(t *testing.T) {
	k, devices := host(t)
	secret := overlay(devices, peer(12, "10.43.2.0/24"))
	clear := secret
	clear.Encrypted, clear.Device.Name, clear.Device.MAC = nil, "fwvx43", net.HardwareAddr{2, 0, 0, 0, 0, 1}
	clear.Peers = vxlan.PeerTable{Link: "fwvx43", VNI: 43, Unreachable: secret.Peers.Unreachable, Peers: []vxlan.Peer{
		{VTEP: netip.MustParseAddr("192.0.2.12"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, Prefixes: statetest.Prefixes("10.43.2.0/24")},
	}}
	clear.Filter.Sources = []netip.Addr{netip.MustParseAddr("192.0.2.12")}
	statetest.Apply(t, k, clear)
	statetest.Ensure(t, statetest.Open(t, nil), secret, true)
	statetest.Verifies(t, nil, secret)
	statetest.Lacks(t, testnet.Sh(t, "sh", "-c", "ip link; ip route; nft list ruleset"), "fwvx", "192.0.2.12 comment")
	statetest.Ensure(t, statetest.Open(t, nil), clear, true)
	statetest.Verifies(t, nil, clear)
	statetest.Lacks(t, testnet.Sh(t, "sh", "-c", "ip link; ip route; nft list set inet fairway encrypted4; nft list set inet fairway vnis_encrypted"), "fwwg", "elements")
}

// TestTunnelAttended leaves the device to the agent: while there is none, ADD fails, and what refuses stands.
func TestTunnelAttended(t *testing.T) {
	k, devices := host(t)
	o := overlay(nil, peer(12, "10.43.2.0/24"))
	attended := tunnel(o)
	attended.Attended, attended.Key = true, wgtypes.Key{}
	o.Attended, o.Encrypted = true, &vxlan.Encrypted{Filter: o.Encrypted.Filter, Tunnel: attended}
	_, err := o.Ensure(k)
	statetest.Fails(t, err, vxlan.ErrTunnel, "link fwwg43 of network secret is the node agent's to make")
	statetest.Fails(t, o.Ready(k), vxlan.ErrTunnel, "see whether fairwayd runs")
	statetest.Verifies(t, nil, o.Encrypted.Filter)
	statetest.Shows(t, testnet.Sh(t, "ip", "route"), "unreachable 10.43.0.0/16")

	statetest.Apply(t, statetest.Open(t, nil), overlay(devices, peer(12, "10.43.2.0/24"), peer(13, "10.43.3.0/24")))
	statetest.Ensure(t, statetest.Open(t, nil), o, false)
	statetest.Verifies(t, nil, o)
	if d, err := devices.Device("fwwg43"); err != nil || len(d.Peers) != 2 || d.PrivateKey != key(8) {
		t.Errorf("the plugin has changed the tunnel: %+v, %v", d, err)
	}
	// The process that had the device has ended.
	devices.Close()
	_, err = o.Ensure(statetest.Open(t, nil))
	statetest.Fails(t, err, vxlan.ErrTunnel, "")
	statetest.Shows(t, testnet.Sh(t, "ip", "route"), "unreachable 10.43.0.0/16")
	statetest.Verifies(t, nil, o.Encrypted.Filter)
}

// TestTunnelFails: each step of what an encrypted network is made by fails in turn, and nothing has led anywhere by then.
func TestTunnelFails(t *testing.T) {
	for step, without := range []string{"make", "read", "configure"} {
		t.Run(without, func(t *testing.T) {
			k, devices := host(t)
			failing := &faulty{Devices: devices, at: step}
			_, err := overlay(failing, peer(12, "10.43.2.0/24")).Ensure(k)
			statetest.Fails(t, err, state.ErrUnsupported, "no such feature")
			if strings.Contains(failing.routes, "dev fwwg43") {
				t.Errorf("a route leads into a device that is not configured:\n%s", failing.routes)
			}
			if !strings.Contains(failing.routes, "unreachable 10.43.0.0/16") || !strings.Contains(failing.rules, "10.43.0.0/16") {
				t.Errorf("nothing refuses before there is a device:\n%s\n%s", failing.routes, failing.rules)
			}
			statetest.Lacks(t, testnet.Sh(t, "sh", "-c", "ip link; ip route; nft list ruleset"), "fwwg", "10.43.", "fairway-overlay")
		})
	}
}

// faulty is WireGuard that fails at a step, and sees what there is by then.
type faulty struct {
	*wgtun.Devices
	at            int
	routes, rules string
}

func (f *faulty) step(n int) error {
	if n != f.at {
		return nil
	}
	f.routes, f.rules = shell("ip route"), shell("nft list ruleset")
	return state.ErrUnsupported
}

func (f *faulty) Make(k *kernel.Kernel, attrs netlink.LinkAttrs) error {
	if err := f.step(0); err != nil {
		return fmt.Errorf("no such feature: %w", err)
	}
	return f.Devices.Make(k, attrs)
}

func (f *faulty) Device(name string) (*wgtypes.Device, error) {
	if err := f.step(1); err != nil {
		return nil, fmt.Errorf("no such feature: %w", err)
	}
	return f.Devices.Device(name)
}

func (f *faulty) Configure(name string, c wgtypes.Config) error {
	if err := f.step(2); err != nil {
		return fmt.Errorf("no such feature: %w", err)
	}
	return f.Devices.Configure(name, c)
}

// shell is what a command prints in the namespace of the calling thread.
func shell(command string) string {
	text, err := exec.Command("sh", "-c", command).CombinedOutput()
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// rotating is a network whose peers are reached through the first device, or through the spare one.
func rotating(d wireguard.Driver, spare map[byte]bool) vxlan.Overlay {
	two, three := peer(12, "10.43.2.0/24", "fd43:0:0:2::/64"), peer(13, "10.43.3.0/24")
	two.Idle, three.Idle = spare[12], spare[13]
	o := overlay(d, two, three)
	first := tunnel(o)
	second := first
	second.Name, second.Key, second.Port = "fwwgs43", key(16), 55936
	two.Idle, three.Idle, two.Wake = !spare[12], !spare[13], !spare[12]
	two.Endpoint, three.Endpoint = netip.AddrPortFrom(two.Endpoint.Addr(), 55936), netip.AddrPortFrom(three.Endpoint.Addr(), 55936)
	second.Peers = []wireguard.Peer{two, three}
	first.Spare, first.SpareName = &second, "fwwgs43"
	o.Encrypted = &vxlan.Encrypted{Filter: o.Encrypted.Filter, Tunnel: first}
	return o
}

// TestTunnelWithSpare: while a key is replaced there are two devices, of one group, and each prefix is routed to one of them at each
// instant, by the difference as by a comparison of everything. With the last step the spare one goes.
func TestTunnelWithSpare(t *testing.T) {
	k, devices := host(t)
	settled := overlay(devices, peer(12, "10.43.2.0/24", "fd43:0:0:2::/64"), peer(13, "10.43.3.0/24"))
	first := tunnel(settled)
	first.SpareName = "fwwgs43"
	settled.Encrypted = &vxlan.Encrypted{Filter: settled.Encrypted.Filter, Tunnel: first}
	statetest.Apply(t, k, settled)
	before := rotating(devices, nil)
	statetest.Drifts(t, nil, before, "link fwwgs43 is gone")
	statetest.Ensure(t, statetest.Open(t, nil), before, true)
	for _, on := range []map[byte]bool{{12: true}, {12: true, 13: true}, {13: true}, {}, {12: true}} {
		now := rotating(devices, on)
		if ok, err := now.Advance(statetest.Open(t, nil), before); !ok || err != nil {
			t.Fatalf("%v, %v", ok, err)
		}
		statetest.Verifies(t, nil, now)
		device := map[bool]string{false: "fwwg43", true: "fwwgs43"}
		statetest.Shows(t, testnet.Sh(t, "sh", "-c", "ip route; ip -6 route"),
			"10.43.2.0/24 dev "+device[on[12]]+" ", "fd43:0:0:2::/64 dev "+device[on[12]]+" ", "10.43.3.0/24 dev "+device[on[13]]+" ")
		before = now
	}
	if d, err := devices.Device("fwwgs43"); err != nil || d.PrivateKey != key(16) || d.ListenPort != 55936 || len(d.Peers) != 2 {
		t.Errorf("the spare device: %+v, %v", d, err)
	}
	for command, drift := range map[string]string{
		"ip link del fwwgs43":                                "link fwwgs43 is gone",
		"ip route replace 10.43.2.0/24 dev fwwg43 proto 250": "route 10.43.2.0/24 leads through fwwg43 instead of fwwgs43",
	} {
		testnet.Sh(t, "sh", "-c", command)
		statetest.Drifts(t, nil, before, drift)
		statetest.Apply(t, statetest.Open(t, nil), before)
		statetest.Verifies(t, nil, before)
	}
	if ok, err := settled.Advance(statetest.Open(t, nil), before); ok || err != nil {
		t.Errorf("without the spare device, by the difference: %v, %v", ok, err)
	}
	statetest.Drifts(t, nil, settled, "link fwwgs43 is left of a key that was replaced")
	statetest.Ensure(t, statetest.Open(t, nil), settled, false)
	statetest.Verifies(t, nil, settled)
	statetest.Lacks(t, testnet.Sh(t, "sh", "-c", "ip link; ip route; ip -6 route"), "fwwgs43")

	statetest.Ensure(t, statetest.Open(t, nil), before, true)
	statetest.Removes(t, nil, before)
	statetest.Lacks(t, testnet.Sh(t, "sh", "-c", "ip link; ip route; ip -6 route; nft list ruleset"), "fwwg", "10.43.", "fd43:", "fairway-overlay")
}

// TestTunnelForgetsSessions: with another key all peers begin anew, so that a handshake is one with that key.
func TestTunnelForgetsSessions(t *testing.T) {
	k, devices := host(t)
	two := peer(12, "10.43.2.0/24")
	statetest.Apply(t, k, overlay(devices, two))
	told := &recorded{Devices: devices}
	another := overlay(told, two)
	changed := tunnel(another)
	changed.Key, changed.Partial = key(16), true
	another.Encrypted = &vxlan.Encrypted{Filter: another.Encrypted.Filter, Tunnel: changed}
	statetest.Ensure(t, statetest.Open(t, nil), another, false)
	if c := told.configs; len(c) != 2 || c[0].PrivateKey == nil || len(c[0].Peers) != 1 || !c[0].Peers[0].Remove || len(c[1].Peers) != 1 || c[1].Peers[0].PublicKey != two.Key {
		t.Errorf("configured by %+v", c)
	}
	statetest.Verifies(t, nil, another)
}

// TestTunnelIsReadyForPeers: who has had a handshake may send at once, by then the device is up, of its group, and takes packets
// whatever the way back.
func TestTunnelIsReadyForPeers(t *testing.T) {
	k, devices := host(t)
	testnet.Sh(t, "sysctl", "-q", "-w", "net.ipv4.conf.default.rp_filter=1")
	told := &recorded{Devices: devices}
	statetest.Apply(t, k, overlay(told, peer(12, "10.43.2.0/24")))
	if c := told.configs; len(c) != 2 || len(c[0].Peers) > 0 || len(c[1].Peers) != 1 {
		t.Fatalf("configured by %+v", c)
	}
	statetest.Lacks(t, told.links[0], ",UP")
	statetest.Shows(t, told.links[1], ",UP", "mtu 1440", fmt.Sprint("group ", state.Group("secret")), "rp_filter 2")
}

// recorded is WireGuard that remembers how it was configured.
type recorded struct {
	*wgtun.Devices
	configs []wgtypes.Config
	links   []string // what there was by then
}

func (r *recorded) Configure(name string, c wgtypes.Config) error {
	link, _ := exec.Command("sh", "-c", "ip link show "+name+"; echo rp_filter $(cat /proc/sys/net/ipv4/conf/"+name+"/rp_filter)").Output() // none shows nothing
	r.configs, r.links = append(r.configs, c), append(r.links, string(link))
	return r.Devices.Configure(name, c)
}
