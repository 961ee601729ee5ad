package state_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// peerMAC is a MAC for the n-th peer.
func peerMAC(n int) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, byte(n >> 8), byte(n)} }

// peers are hosts with a block of each family, from 192.0.2.12 and 10.42.2.0/24, fd42:0:0:2::/64 on.
func peers(count int) (list []state.Peer) {
	for n := 2; n < 2+count; n++ {
		list = append(list, state.Peer{
			VTEP: netip.AddrFrom4([4]byte{192, 0, byte(2 + n>>8), byte(10 + n)}), MAC: peerMAC(n),
			Prefixes: []netip.Prefix{
				netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 42, byte(n), 0}), 24),
				netip.MustParsePrefix(fmt.Sprintf("fd42:0:0:%x::/64", n)),
			},
		})
	}
	return list
}

// overlay is network net with VNI 4096, as the host 192.0.2.11 with blocks 10.42.1.0/24 and fd42:0:0:1::/64 has it.
func overlay(list []state.Peer) state.Overlay {
	subnets := []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16"), netip.MustParsePrefix("fd42::/48")}
	own := []netip.Prefix{netip.MustParsePrefix("10.42.1.0/24"), netip.MustParsePrefix("fd42:0:0:1::/64")}
	o := state.Overlay{
		Isolation: state.OverlayIsolation{Network: "net"},
		Filter:    state.SourceFilter{Network: "net", VNI: 4096, Port: 4789},
		Device: state.VXLAN{
			Network: "net", Name: "fwvx4096", VNI: 4096, Port: 4789,
			Local: netip.MustParseAddr("192.0.2.11"), MAC: peerMAC(1), MTU: 1450,
			Addresses: []netip.Addr{own[0].Addr(), own[1].Addr()},
		},
		Peers:   state.PeerTable{Link: "fwvx4096", VNI: 4096, Peers: list, Unreachable: append(subnets, own...)},
		Subnets: subnets,
	}
	for _, p := range list {
		o.Filter.Sources = append(o.Filter.Sources, p.VTEP)
	}
	return o
}

// overlayHost gives a test a host with an address on an underlay.
func overlayHost(t *testing.T) *kernel.Kernel {
	t.Helper()
	testnet.NewHost(t)
	testnet.Sh(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "wire")
	testnet.Sh(t, "ip", "addr", "add", "192.0.2.11/24", "dev", "eth0")
	testnet.Sh(t, "ip", "link", "set", "eth0", "up")
	testnet.Sh(t, "ip", "link", "set", "wire", "up")
	return open(t, nil)
}

func TestOverlay(t *testing.T) {
	k := overlayHost(t)
	o := overlay(peers(2))
	drifts(t, nil, o, "link fwvx4096 is gone from the host's namespace")
	ensure(t, k, o, true)
	verifies(t, nil, o)
	ensure(t, k, o, false)

	shows(t, testnet.Sh(t, "ip", "-d", "link", "show", "fwvx4096"), "mtu 1450", "UP", peerMAC(1).String(),
		"id 4096 local 192.0.2.11", "dstport 4789", "nolearning", "alias fairway-overlay net")
	shows(t, testnet.Sh(t, "ip", "addr", "show", "fwvx4096"), "10.42.1.0/32", "fd42:0:0:1::/128")
	shows(t, testnet.Sh(t, "ip", "route"), "10.42.2.0/24 via 10.42.2.0 dev fwvx4096 proto 250 onlink",
		"10.42.3.0/24 via 10.42.3.0 dev fwvx4096 proto 250 onlink",
		"unreachable 10.42.0.0/16 proto 250 metric 4096", "unreachable 10.42.1.0/24 proto 250 metric 4096")
	shows(t, testnet.Sh(t, "ip", "-6", "route"), "fd42:0:0:2::/64 via fd42:0:0:2:: dev fwvx4096 proto 250",
		"unreachable fd42:0:0:1::/64 dev lo proto 250 metric 4096", "unreachable fd42::/48 dev lo proto 250 metric 4096")
	shows(t, testnet.Sh(t, "ip", "neigh", "show", "dev", "fwvx4096"),
		"10.42.2.0 lladdr 02:00:00:00:00:02 PERMANENT", "fd42:0:0:3:: lladdr 02:00:00:00:00:03 PERMANENT")
	shows(t, testnet.Sh(t, "bridge", "fdb", "show", "dev", "fwvx4096"),
		"02:00:00:00:00:02 dst 192.0.2.12 self permanent", "02:00:00:00:00:03 dst 192.0.2.13 self permanent")
	shows(t, testnet.Sh(t, "sysctl", "net.ipv6.conf.fwvx4096.accept_ra"), "= 0")
	shows(t, testnet.Sh(t, "nft", "list", "ruleset"),
		"udp dport . @th,96,32 & 0xffffff00 @vxlan udp dport . @th,96,32 & 0xffffff00 . ip saddr != @vxlan_peers4 drop",
		`. 192.0.2.12 comment "fairway-overlay net"`, "iifgroup . oifgroup @overlays_within accept")

	removes(t, nil, o)
	lacks(t, testnet.Sh(t, "ip", "route"), "10.42")
	lacks(t, testnet.Sh(t, "ip", "-6", "route"), "fd42")
	lacks(t, testnet.Sh(t, "ip", "link"), "fwvx")
	lacks(t, testnet.Sh(t, "nft", "list", "ruleset"), "comment")
}
