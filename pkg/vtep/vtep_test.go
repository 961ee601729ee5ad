package vtep

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/state/wireguard"
)

func prefixes(all ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, s := range all {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

var (
	blue = overlay.Network{Name: "blue", VNI: 4096, Port: 4789, Subnets: prefixes("10.42.0.0/16", "fd42::/64")}
	here = overlay.Peer{VTEP: netip.MustParseAddr("192.0.2.11"), Blocks: prefixes("10.42.1.0/26", "fd42::1:0:0:0/80")}
	them = overlay.Peer{VTEP: netip.MustParseAddr("192.0.2.12"), Blocks: prefixes("10.42.2.0/26")}
)

const declared = `nft add element inet fairway overlays_within { 1733476750 . 1733476750 }
nft add element inet fairway overlays { 1733476750 }
nft add element inet fairway overlays_isolated { 1733476750 }
nft add element inet fairway vnis { 4789 . 4096 }
nft add element inet fairway peers4 { 4789 . 4096 . 192.0.2.12 }
ip link add fwvx4096 address aa:08:6c:45:e0:33 mtu 1450 group 1733476750 type vxlan id 4096 local 192.0.2.11 dstport 4789 nolearning
sysctl -w net/ipv6/conf/fwvx4096/accept_ra=0
ip link set fwvx4096 up
ip addr add 10.42.1.0/32 dev fwvx4096
ip addr add fd42::1:0:0:0/128 dev fwvx4096 nodad
ip route add unreachable 10.42.0.0/16 proto 250 metric 4096
ip route add unreachable fd42::/64 proto 250 metric 4096
ip route add unreachable 10.42.1.0/26 proto 250 metric 4096
ip route add unreachable fd42::1:0:0:0/80 proto 250 metric 4096
bridge fdb replace 8a:f6:ad:96:eb:2d dev fwvx4096 dst 192.0.2.12 self permanent
ip neigh replace 10.42.2.0 dev fwvx4096 lladdr 8a:f6:ad:96:eb:2d nud permanent
ip route add 10.42.2.0/26 via 10.42.2.0 dev fwvx4096 onlink proto 250
ip neigh replace 10.42.9.9 dev fwvx4096 lladdr 8a:f6:ad:96:eb:2d nud permanent
ip route add 10.42.9.9/32 via 10.42.9.9 dev fwvx4096 onlink proto 250`

func TestDeclare(t *testing.T) {
	hosts := overlay.Hosts{Peers: []overlay.Peer{here, them}, Pins: []overlay.Pin{
		{Address: netip.MustParseAddr("10.42.9.9"), VTEP: them.VTEP},
		{Address: netip.MustParseAddr("10.42.9.8"), VTEP: here.VTEP},
	}}
	o := Declare(blue, hosts, here, 1500)
	if diff := cmp.Diff(declared, strings.ReplaceAll(o.String(), " && ", "\n")); diff != "" {
		t.Errorf("declared (-want +got):\n%s", diff)
	}
}

const declaredEncrypted = `nft add element inet fairway vnis_encrypted { 4789 . 4096 }
nft add element inet fairway encrypted_by4 { 10.42.0.0/16 . 1733476750 }
nft add element inet fairway encrypted4 { 10.42.0.0/16 . 0-4294967295 }
nft add element inet fairway encrypted_by6 { fd42::/64 . 1733476750 }
nft add element inet fairway encrypted6 { fd42::/64 . 0-4294967295 }
nft add element inet fairway overlays_within { 1733476750 . 1733476750 }
nft add element inet fairway overlays { 1733476750 }
nft add element inet fairway overlays_isolated { 1733476750 }
nft add element inet fairway vnis { 4789 . 4096 }
ip route add unreachable 10.42.0.0/16 proto 250 metric 4096
ip route add unreachable fd42::/64 proto 250 metric 4096
ip route add unreachable 10.42.1.0/26 proto 250 metric 4096
ip route add unreachable fd42::1:0:0:0/80 proto 250 metric 4096
ip link add fwwg4096 mtu 1440 group 1733476750 type wireguard
wg set fwwg4096 listen-port 51840 private-key …
wg set fwwg4096 peer AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= endpoint 192.0.2.12:51840 allowed-ips 10.42.2.0/26,10.42.9.9/32
sysctl -w net/ipv6/conf/fwwg4096/accept_ra=0
sysctl -w net/ipv4/conf/fwwg4096/rp_filter=2
ip link set fwwg4096 up
ip addr add 10.42.1.0/32 dev fwwg4096
ip addr add fd42::1:0:0:0/128 dev fwwg4096 nodad
ip route replace 10.42.2.0/26 dev fwwg4096 proto 250
ip route replace 10.42.9.9/32 dev fwwg4096 proto 250`

// TestDeclareEncrypted: what refuses any other way comes first, and a host without a key is in nothing that leads anywhere.
func TestDeclareEncrypted(t *testing.T) {
	secret, keyed := blue, them
	secret.Encrypted, secret.WireguardPort, keyed.Key = true, overlay.DefaultWireguardPort, overlay.Key{1}
	keyless := overlay.Peer{VTEP: netip.MustParseAddr("192.0.2.13"), Blocks: prefixes("10.42.3.0/26")}
	hosts := overlay.Hosts{Peers: []overlay.Peer{here, keyed, keyless}, Pins: []overlay.Pin{{Address: netip.MustParseAddr("10.42.9.9"), VTEP: them.VTEP}}}
	o := Declare(secret, hosts, here, 1500)
	if diff := cmp.Diff(declaredEncrypted, strings.ReplaceAll(o.String(), " && ", "\n")); diff != "" {
		t.Errorf("declared (-want +got):\n%s", diff)
	}
}

func TestDeclareMTU(t *testing.T) {
	six := overlay.Peer{VTEP: netip.MustParseAddr("2001:db8::1")}
	fixed := blue
	fixed.MTU = 1300
	secret := blue
	secret.Encrypted = true
	for _, test := range []struct {
		name    string
		network overlay.Network
		own     overlay.Peer
		want    int
	}{
		{"IPv4 underlay", blue, here, 1450},
		{"IPv6 underlay", blue, six, 1430},
		{"configured", fixed, here, 1300},
		{"encrypted over IPv4", secret, here, 1440},
		{"encrypted over IPv6", secret, six, 1420},
	} {
		if got := Declare(test.network, overlay.Hosts{}, test.own, 1500).Device.MTU; got != test.want {
			t.Errorf("%s: MTU %d, want %d", test.name, got, test.want)
		}
	}
}

// TestDeclareRotation: while a host replaces its key, the others have a spare device with it alone, and it has one with all of them. Of two
// hosts one begins the session by the device that packets are to go by, and keeps it awake.
func TestDeclareRotation(t *testing.T) {
	secret := blue
	secret.Encrypted, secret.WireguardPort = true, overlay.DefaultWireguardPort
	us, other, third := here, them, overlay.Peer{VTEP: netip.MustParseAddr("192.0.2.13"), Key: overlay.Key{3}, Blocks: prefixes("10.42.3.0/26")}
	us.Key, other.Key, other.NextKey = overlay.Key{9}, overlay.Key{1}, overlay.Key{2}
	spare := func(own overlay.Peer, peers ...overlay.Peer) (text string) {
		o := Declare(secret, overlay.Hosts{Peers: append([]overlay.Peer{own}, peers...)}, own, 1500)
		Tunnel(o, func(tunnel *wireguard.Tunnel) {
			for _, p := range tunnel.Peers {
				text += fmt.Sprintln("first", p.Key[0], p.Endpoint.Port(), p.Idle, p.Wake)
			}
			if tunnel.Spare == nil {
				return
			}
			for _, p := range tunnel.Spare.Peers {
				text += fmt.Sprintln("spare", p.Key[0], p.Endpoint.Port(), p.Idle, p.Wake)
			}
		})
		return text
	}
	moved := other
	moved.Spare = true
	back := moved
	back.Key = back.NextKey
	arrived := back
	arrived.Spare = false
	elsewhere := func(p overlay.Peer) overlay.Peer {
		p.Spare = true
		return p
	}
	for want, got := range map[string]string{
		"first 1 51840 false false\nfirst 3 51840 false false\nspare 2 55936 true true\n":                           spare(us, other, third),
		"first 1 51840 true false\nfirst 3 51840 false false\nspare 2 55936 false true\n":                           spare(us, moved, third),
		"first 2 51840 true true\nfirst 3 51840 false false\nspare 2 55936 false false\n":                           spare(us, back, third),
		"first 2 51840 false true\nfirst 3 51840 false false\nspare 2 55936 true false\n":                           spare(us, arrived, third),
		"first 9 51840 false false\nfirst 3 51840 false false\nspare 9 55936 true false\nspare 3 55936 true true\n": spare(other, us, third),
		"first 9 51840 true false\nfirst 3 51840 true false\nspare 9 55936 false false\nspare 3 55936 false true\n": spare(other, elsewhere(us), elsewhere(third)),
	} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("device, key, port, idle, wake (-want +got):\n%s", diff)
		}
	}
}
