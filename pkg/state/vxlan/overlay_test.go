package vxlan_test

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/state/vxlan"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// peerMAC is a MAC for the n-th peer.
func peerMAC(n int) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, byte(n >> 8), byte(n)} }

// peers are hosts with a block of each family, from 192.0.2.12 and 10.42.2.0/24, fd42:0:0:2::/64 on.
func peers(count int) (list []vxlan.Peer) {
	for n := 2; n < 2+count; n++ {
		list = append(list, vxlan.Peer{
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
func overlay(list []vxlan.Peer) vxlan.Overlay {
	subnets := []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16"), netip.MustParsePrefix("fd42::/48")}
	own := []netip.Prefix{netip.MustParsePrefix("10.42.1.0/24"), netip.MustParsePrefix("fd42:0:0:1::/64")}
	o := vxlan.Overlay{
		Isolation: ruleset.OverlayIsolation{Network: "net"},
		Filter:    ruleset.SourceFilter{Network: "net", VNI: 4096, Port: 4789},
		Device: vxlan.VXLAN{
			Network: "net", Name: "fwvx4096", VNI: 4096, Port: 4789,
			Local: netip.MustParseAddr("192.0.2.11"), MAC: peerMAC(1), MTU: 1450,
			Addresses: []netip.Addr{own[0].Addr(), own[1].Addr()},
		},
		Peers:   vxlan.PeerTable{Link: "fwvx4096", VNI: 4096, Peers: list, Unreachable: append(subnets, own...)},
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
	return statetest.Open(t, nil)
}

func TestOverlay(t *testing.T) {
	k := overlayHost(t)
	o := overlay(peers(2))
	statetest.Drifts(t, nil, o, "link fwvx4096 is gone from the host's namespace")
	statetest.Ensure(t, k, o, true)
	statetest.Verifies(t, nil, o)
	statetest.Ensure(t, k, o, false)

	statetest.Shows(t, testnet.Sh(t, "ip", "-d", "link", "show", "fwvx4096"), "mtu 1450", "UP", peerMAC(1).String(),
		"id 4096 local 192.0.2.11", "dstport 4789", "nolearning", "alias fairway-overlay net")
	statetest.Shows(t, testnet.Sh(t, "ip", "addr", "show", "fwvx4096"), "10.42.1.0/32", "fd42:0:0:1::/128")
	statetest.Shows(t, testnet.Sh(t, "ip", "route"), "10.42.2.0/24 via 10.42.2.0 dev fwvx4096 proto 250 onlink",
		"10.42.3.0/24 via 10.42.3.0 dev fwvx4096 proto 250 onlink",
		"unreachable 10.42.0.0/16 proto 250 metric 4096", "unreachable 10.42.1.0/24 proto 250 metric 4096")
	statetest.Shows(t, testnet.Sh(t, "ip", "-6", "route"), "fd42:0:0:2::/64 via fd42:0:0:2:: dev fwvx4096 proto 250",
		"unreachable fd42:0:0:1::/64 dev lo proto 250 metric 4096", "unreachable fd42::/48 dev lo proto 250 metric 4096")
	statetest.Shows(t, testnet.Sh(t, "ip", "neigh", "show", "dev", "fwvx4096"),
		"10.42.2.0 lladdr 02:00:00:00:00:02 PERMANENT", "fd42:0:0:3:: lladdr 02:00:00:00:00:03 PERMANENT")
	statetest.Shows(t, testnet.Sh(t, "bridge", "fdb", "show", "dev", "fwvx4096"),
		"02:00:00:00:00:02 dst 192.0.2.12 self permanent", "02:00:00:00:00:03 dst 192.0.2.13 self permanent")
	statetest.Shows(t, testnet.Sh(t, "sysctl", "net.ipv6.conf.fwvx4096.accept_ra"), "= 0")
	statetest.Shows(t, testnet.Sh(t, "nft", "list", "ruleset"),
		"udp dport . @th,96,24 @vnis jump vxlan_source", "udp dport . @th,96,24 . ip saddr != @peers4 drop",
		`. 192.0.2.12 comment "fairway-overlay net"`, "iifgroup . oifgroup @overlays_within accept")

	statetest.Removes(t, nil, o)
	statetest.Lacks(t, testnet.Sh(t, "ip", "route"), "10.42")
	statetest.Lacks(t, testnet.Sh(t, "ip", "-6", "route"), "fd42")
	statetest.Lacks(t, testnet.Sh(t, "ip", "link"), "fwvx")
	statetest.Lacks(t, testnet.Sh(t, "nft", "list", "ruleset"), "fairway-overlay net")
}

// TestOverlayRepairs: what is changed by hand is drift, and the next Ensure puts it right.
func TestOverlayRepairs(t *testing.T) {
	for _, test := range []struct{ name, change, drift string }{
		{"device gone", "ip link del fwvx4096", "link fwvx4096 is gone from the host's namespace"},
		{"device down", "ip link set fwvx4096 down", "fwvx4096 is down"},
		{"mtu", "ip link set fwvx4096 mtu 1400", "fwvx4096 has MTU 1400 instead of 1450"},
		{"mac", "ip link set fwvx4096 address 02:00:00:00:00:99", "fwvx4096 has MAC 02:00:00:00:00:99 instead of 02:00:00:00:00:01"},
		{"group", "ip link set fwvx4096 group 5", "fwvx4096 is in group 5"},
		{"learning", "ip link set fwvx4096 type vxlan id 4096 learning", "fwvx4096 learns addresses"},
		{"local", "ip link set fwvx4096 type vxlan id 4096 local 192.0.2.99", "fwvx4096 sends from 192.0.2.99 instead of 192.0.2.11"},
		{"port", "ip link del fwvx4096 && ip link add fwvx4096 type vxlan id 4096 local 192.0.2.11 dstport 4790", "port 4790"},
		{"family", "ip link del fwvx4096 && ip link add fwvx4096 type vxlan id 4096 local 2001:db8::1 dstport 4789", "sends from 2001:db8::1"},
		{"address", "ip addr del 10.42.1.0/32 dev fwvx4096", "fwvx4096 has no address 10.42.1.0/32"},
		{"route", "ip route del 10.42.2.0/24", "route 10.42.2.0/24 via 10.42.2.0 is missing"},
		{"route 6", "ip -6 route del fd42:0:0:2::/64", "route fd42:0:0:2::/64 via fd42:0:0:2:: is missing"},
		{"route elsewhere", "ip route replace 10.42.2.0/24 via 10.42.3.0 dev fwvx4096 onlink proto 250", "route 10.42.2.0/24 via 10.42.2.0 is missing"},
		{"own block", "ip route del unreachable 10.42.1.0/24", "route unreachable 10.42.1.0/24 is missing"},
		{"own block 6", "ip -6 route del unreachable fd42:0:0:1::/64", "route unreachable fd42:0:0:1::/64 is missing"},
		{"neighbour", "ip neigh del 10.42.2.0 dev fwvx4096", "neighbour 10.42.2.0 lladdr 02:00:00:00:00:02 is missing"},
		{"neighbour elsewhere", "ip neigh replace 10.42.2.0 dev fwvx4096 lladdr 02:00:00:00:00:99 nud permanent", "neighbour 10.42.2.0 lladdr 02:00:00:00:00:02 is missing"},
		{"neighbour not permanent", "ip neigh replace 10.42.2.0 dev fwvx4096 lladdr 02:00:00:00:00:02 nud stale", "neighbour 10.42.2.0 lladdr 02:00:00:00:00:02 is missing"},
		{"forwarding entry", "bridge fdb del 02:00:00:00:00:02 dev fwvx4096", "forwarding entry 02:00:00:00:00:02 dst 192.0.2.12 is missing"},
		{"forwarding elsewhere", "bridge fdb replace 02:00:00:00:00:02 dev fwvx4096 dst 192.0.2.99 self permanent", "forwarding entry 02:00:00:00:00:02 dst 192.0.2.12 is missing"},
		{"second destination", "bridge fdb append 00:00:00:00:00:00 dev fwvx4096 dst 192.0.2.98 && bridge fdb append 00:00:00:00:00:00 dev fwvx4096 dst 192.0.2.99", "is no peer's"},
		{"surplus route", "ip route add 10.42.9.0/24 via 10.42.9.0 dev fwvx4096 onlink proto 250", "route 10.42.9.0/24 via 10.42.9.0 is no peer's"},
		{"surplus unreachable", "ip route add unreachable 10.42.9.0/24 proto 250 metric 4096", "route unreachable 10.42.9.0/24 is no peer's"},
		{"surplus neighbour", "ip neigh add 10.42.9.0 dev fwvx4096 lladdr 02:00:00:00:00:99 nud permanent", "neighbour 10.42.9.0 lladdr 02:00:00:00:00:99 is no peer's"},
		{"surplus forwarding entry", "bridge fdb add 02:00:00:00:00:99 dev fwvx4096 dst 192.0.2.99 self permanent", "forwarding entry 02:00:00:00:00:99 dst 192.0.2.99 is no peer's"},
		{"rules gone", "nft flush ruleset", "chain forward of nftables table inet fairway has not the rules of this version"},
		{"chain empty", "nft flush chain inet fairway vxlan_input", "chain vxlan_input of nftables table inet fairway has not the rules of this version"},
		{"peer not let in", "nft flush set inet fairway peers4", "nftables set peers4 has no element of"},
		{"stranger let in", `nft add element inet fairway peers4 '{ 4789 . 0x1000 . 192.0.2.99 comment "fairway-overlay net" }'`, "nftables set peers4 has an element of"},
		{"isolation", "nft flush set inet fairway overlays_isolated", "nftables set overlays_isolated has no element of"},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := overlayHost(t)
			o := overlay(peers(2))
			statetest.Apply(t, k, o)
			before := overlayText(t)
			testnet.Sh(t, "sh", "-c", test.change)
			statetest.Drifts(t, nil, o, test.drift)
			many := statetest.Open(t, nil)
			many.Remember()
			_ = other("10.43.0.0/16").Verify(many) // by which is listed
			statetest.Fails(t, o.Verify(many), state.ErrDrift, test.drift)
			if err := many.Afresh(func() error { _, err := o.Ensure(many); return err }); err != nil {
				t.Fatal(err)
			}
			statetest.Verifies(t, nil, o)
			if diff := cmp.Diff(before, overlayText(t)); diff != "" {
				t.Errorf("repaired (-before +after):\n%s", diff)
			}
		})
	}
}

// overlayText is all that a network has on a host, as commands show it, but for what the kernel does with a link-local
// address in its own time.
func overlayText(t *testing.T) string {
	t.Helper()
	var lines []string
	for _, command := range []string{
		"ip -d link show fwvx4096", "ip addr show fwvx4096", "ip route show proto 250", "ip -6 route show proto 250",
		"ip neigh show dev fwvx4096 nud permanent", "bridge fdb show dev fwvx4096",
	} {
		for line := range strings.Lines(testnet.Sh(t, "sh", "-c", command)) {
			line = regexp.MustCompile(`^\d+: |inet6 fe80\S+ scope link( tentative)?`).ReplaceAllString(line, "")
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
