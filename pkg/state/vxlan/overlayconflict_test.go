package vxlan_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/state/vxlan"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// namesAndRoutes leaves out the state of links and what follows from it, which have their own time.
const namesAndRoutes = `ip -br link | cut -d" " -f1; ip route | sed "s, linkdown,,"; ip -6 route | grep -v ^fe80 | sed "s, linkdown,,"`

// TestOverlayConflicts: what somebody else has is refused, in Ensure and in Ready, and nothing is left behind.
func TestOverlayConflicts(t *testing.T) {
	for _, test := range []struct{ name, setup, text string }{
		{"another kind of link", "ip link add fwvx4096 type bridge", "link fwvx4096 is a bridge, in conflict with the configuration: remove it, or choose another vni"},
		{"another network", "ip link add fwvx4096 type vxlan id 4096 dstport 4789 && ip link set fwvx4096 alias 'fairway-overlay shop'",
			"vni 4096 is that of network shop on this host, in conflict with the configuration: choose another vni"},
		{"somebody's alias", "ip link add fwvx4096 type vxlan id 4096 dstport 4789 && ip link set fwvx4096 alias mine",
			`vni 4096 is that of a link whose alias is "mine" on this host`},
		{"a route of the host", "ip addr add 10.42.7.1/24 dev eth0", "subnet 10.42.0.0/16 overlaps the host's route to 10.42.7.0/24 through eth0, in conflict with the configuration: choose another subnet"},
		{"a wider segment of the host", "ip addr add 10.0.0.1/8 dev eth0", "subnet 10.42.0.0/16 overlaps the host's route to 10.0.0.0/8 through eth0"},
		{"a narrower route", "ip route add 10.42.7.0/24 via 192.0.2.1", "subnet 10.42.0.0/16 overlaps the host's route to 10.42.7.0/24 through eth0"},
		{"a route of IPv6", "ip addr add fd42:0:0:7::1/64 dev eth0 nodad", "subnet fd42::/48 overlaps the host's route to fd42:0:0:7::/64 through eth0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := overlayHost(t)
			testnet.Sh(t, "sh", "-c", test.setup)
			before := testnet.Sh(t, "sh", "-c", namesAndRoutes)
			_, err := overlay(peers(1)).Ensure(k)
			statetest.Fails(t, err, state.ErrConflict, test.text)
			statetest.Fails(t, overlay(peers(1)).Ready(statetest.Open(t, nil)), state.ErrConflict, test.text)
			if after := testnet.Sh(t, "sh", "-c", namesAndRoutes); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
			statetest.Lacks(t, testnet.Sh(t, "nft", "list", "ruleset"), "fairway-overlay net")
		})
	}
}

// TestOverlaySameVNI: the kernel has one device for a VNI and port, whatever its name.
func TestOverlaySameVNI(t *testing.T) {
	k := overlayHost(t)
	testnet.Sh(t, "ip", "link", "add", "theirs", "type", "vxlan", "id", "4096", "local", "192.0.2.11", "dstport", "4789")
	testnet.Sh(t, "ip", "link", "set", "theirs", "up")
	const want = "vni 4096 is that of link theirs on this host, in conflict with the configuration: choose another vni"
	_, err := overlay(peers(1)).Ensure(k)
	statetest.Fails(t, err, state.ErrConflict, want)
	statetest.Fails(t, overlay(peers(1)).Ready(statetest.Open(t, nil)), state.ErrConflict, want)
	statetest.Lacks(t, testnet.Sh(t, "nft", "list", "ruleset"), "fairway-overlay net")
}

// TestOverlayVNIElsewhere: a device keeps its VNI for the namespace in which it was made.
func TestOverlayVNIElsewhere(t *testing.T) {
	k := overlayHost(t)
	elsewhere := testnet.NewNS(t, "swarm")
	testnet.Sh(t, "ip", "link", "add", "theirs", "type", "vxlan", "id", "4096", "dstport", "4789", "nolearning")
	testnet.Sh(t, "ip", "link", "set", "theirs", "netns", elsewhere.Path)
	_, err := overlay(peers(1)).Ensure(k)
	statetest.Fails(t, err, state.ErrConflict, "vni 4096 is that of a VXLAN device which was made on this host and moved to another namespace")
	statetest.Lacks(t, testnet.Sh(t, "sh", "-c", "ip link; ip route"), "fwvx", "10.42.")
	statetest.Lacks(t, testnet.Sh(t, "nft", "list", "ruleset"), "fairway-overlay net")
}

// TestOverlayBesideWiderRoutes: a way out for everything that is not known better is nobody's subnet.
func TestOverlayBesideWiderRoutes(t *testing.T) {
	for _, routes := range []string{
		"ip tuntap add tun0 mode tun && ip link set tun0 up && ip route add 0.0.0.0/1 dev tun0 && ip route add 128.0.0.0/1 dev tun0",
		"ip route add 0.0.0.0/1 via 192.0.2.1 && ip route add 128.0.0.0/1 via 192.0.2.1",
		"ip route add 10.0.0.0/8 via 192.0.2.1",
		"ip route add unreachable 10.0.0.0/8 && ip route add unreachable fc00::/7",
	} {
		t.Run(routes, func(t *testing.T) {
			k := overlayHost(t)
			testnet.Sh(t, "sh", "-c", routes)
			o := overlay(peers(1))
			if err := o.Ready(statetest.Open(t, nil)); err != nil {
				t.Errorf("Ready: %v", err)
			}
			statetest.Apply(t, k, o)
			statetest.Verifies(t, nil, o)
		})
	}
}

// TestOverlayPortTaken by a socket of somebody else.
func TestOverlayPortTaken(t *testing.T) {
	k := overlayHost(t)
	testnet.Sh(t, "ip", "link", "add", "theirs", "type", "vxlan", "id", "1", "local", "192.0.2.11", "dstport", "4789", "gbp")
	testnet.Sh(t, "ip", "link", "set", "theirs", "up")
	_, err := overlay(peers(1)).Ensure(k)
	statetest.Fails(t, err, state.ErrConflict, "its UDP port 4789 is somebody else's on this host, in conflict with the configuration: choose another port")
	statetest.Lacks(t, testnet.Sh(t, "ip", "link"), "fwvx")
}

// other is network shop with VNI 7 in a subnet, beside the one of overlay.
func other(subnet string) vxlan.Overlay {
	p := netip.MustParsePrefix(subnet)
	return vxlan.Overlay{
		Isolation: ruleset.OverlayIsolation{Network: "shop"}, Filter: ruleset.SourceFilter{Network: "shop", VNI: 7, Port: 4789},
		Device: vxlan.VXLAN{
			Network: "shop", Name: "fwvx7", VNI: 7, Port: 4789, Local: netip.MustParseAddr("192.0.2.11"), MAC: peerMAC(7), MTU: 1450,
		},
		Peers: vxlan.PeerTable{Link: "fwvx7", VNI: 7, Unreachable: []netip.Prefix{p}}, Subnets: []netip.Prefix{p},
	}
}

// TestTwoOverlays stand side by side, and go one by one, unless their subnets overlap.
func TestTwoOverlays(t *testing.T) {
	k := overlayHost(t)
	o := overlay(peers(2))
	statetest.Apply(t, k, o)
	_, err := other("10.42.128.0/17").Ensure(statetest.Open(t, nil))
	statetest.Fails(t, err, state.ErrConflict, "subnet 10.42.128.0/17 overlaps 10.42.0.0/16 of network net, in conflict with the configuration: choose another subnet")
	statetest.Verifies(t, nil, o)

	shop := other("10.43.0.0/16")
	statetest.Ensure(t, statetest.Open(t, nil), shop, true)
	statetest.Verifies(t, nil, o)
	statetest.Verifies(t, nil, shop)
	statetest.Removes(t, nil, shop)
	statetest.Verifies(t, nil, o)
	statetest.Lacks(t, testnet.Sh(t, "ip", "route"), "10.43.")
}

// TestOverlayVNIChanged: what the network had under its earlier VNI goes.
func TestOverlayVNIChanged(t *testing.T) {
	k := overlayHost(t)
	statetest.Apply(t, k, overlay(peers(1)))
	o := overlay(peers(1))
	o.Device.Name, o.Device.VNI, o.Filter.VNI, o.Peers.Link, o.Peers.VNI = "fwvx5000", 5000, 5000, "fwvx5000", 5000
	if err := o.Ready(statetest.Open(t, nil)); err != nil {
		t.Errorf("Ready: %v", err)
	}
	statetest.Ensure(t, statetest.Open(t, nil), o, true)
	statetest.Verifies(t, nil, o)
	statetest.Lacks(t, testnet.Sh(t, "sh", "-c", "ip link; ip route; ip -6 route"), "fwvx4096", "metric 4096")
	statetest.Lacks(t, testnet.Sh(t, "nft", "list", "ruleset"), "0x00001000")
	statetest.Removes(t, nil, o)
	statetest.Lacks(t, testnet.Sh(t, "sh", "-c", "ip link; ip route; ip -6 route"), "fwvx", "10.42.", "fd42:")
}

// TestPeerTableSparesOthers: a route that somebody else has made in a peer's place is an error, and stays.
func TestPeerTableSparesOthers(t *testing.T) {
	k := overlayHost(t)
	statetest.Apply(t, k, overlay(peers(2)))
	testnet.Sh(t, "ip", "route", "add", "10.42.4.0/24", "via", "192.0.2.1")
	o := overlay(peers(4))
	_, err := o.Ensure(k)
	statetest.Fails(t, err, state.ErrConflict, "route 10.42.4.0/24 via 10.42.4.0: the host has a route there already")
	statetest.Shows(t, testnet.Sh(t, "ip", "route"), "10.42.4.0/24 via 192.0.2.1 dev eth0", "10.42.5.0/24 via 10.42.5.0 dev fwvx4096")
}

// TestPeerTablePartial keeps what a list that may lack peers does not have, and puts right what it has.
func TestPeerTablePartial(t *testing.T) {
	k := overlayHost(t)
	statetest.Apply(t, k, overlay(peers(3)))
	fewer := overlay(peers(1))
	fewer.Peers.Partial = true
	testnet.Sh(t, "ip", "neigh", "del", "10.42.2.0", "dev", "fwvx4096")
	if _, err := fewer.Peers.Ensure(k); err != nil {
		t.Fatal(err)
	}
	statetest.Verifies(t, nil, overlay(peers(3)).Peers)
	fewer.Peers.Partial = false
	if _, err := fewer.Ensure(k); err != nil {
		t.Fatal(err)
	}
	statetest.Verifies(t, nil, fewer)
	shown := testnet.Sh(t, "sh", "-c", "ip route; bridge fdb show dev fwvx4096; ip neigh show dev fwvx4096 nud permanent; nft list ruleset")
	statetest.Lacks(t, shown, "10.42.3.0", "10.42.4.0", "192.0.2.13", "192.0.2.14")
}

// TestManyPeers is more than one batch, one transaction and one part of a listing.
func TestManyPeers(t *testing.T) {
	k := overlayHost(t)
	list := manyPeers(1500)
	o := overlay(list)
	statetest.Ensure(t, k, o, true)
	statetest.Verifies(t, nil, o)
	for command, want := range map[string]int{
		"ip route show proto 250 dev fwvx4096": 1500, "ip neigh show dev fwvx4096 nud permanent": 1500, "bridge fdb show dev fwvx4096": 1500,
	} {
		if got := strings.Count(testnet.Sh(t, "sh", "-c", command)+"\n", "\n"); got != want {
			t.Errorf("%s: %d lines, want %d", command, got, want)
		}
	}
	o = overlay(list[1:])
	statetest.Ensure(t, k, o, false)
	statetest.Verifies(t, nil, o)
	statetest.Drifts(t, nil, overlay(manyPeers(1520)).Peers, "and 53 more entries of peers of fwvx4096")
	statetest.Removes(t, nil, o)
}

// manyPeers have a block of IPv4 each.
func manyPeers(count int) (list []vxlan.Peer) {
	for n := range count {
		list = append(list, vxlan.Peer{
			VTEP: netip.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)}), MAC: peerMAC(n + 256),
			Prefixes: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 42, byte(16 + n>>4), byte(n << 4)}), 28)},
		})
	}
	return list
}

// TestOverlayAttended leaves a device that is complete to the agent, and completes one that is not.
func TestOverlayAttended(t *testing.T) {
	k := overlayHost(t)
	statetest.Apply(t, k, overlay(peers(3)))
	o := overlay(peers(1))
	o.Attended = true
	statetest.Ensure(t, statetest.Open(t, nil), o, false)
	statetest.Verifies(t, nil, o)
	statetest.Verifies(t, nil, overlay(peers(3)))
	if err := o.Retire(k); err != nil {
		t.Fatal(err)
	}
	statetest.Verifies(t, nil, overlay(peers(3)))

	testnet.Sh(t, "ip", "link", "del", "fwvx4096")
	if err := o.Repair(statetest.Open(t, nil)); err != nil {
		t.Fatal(err)
	}
	statetest.Verifies(t, nil, overlay(peers(1)))
	// A process that is killed before the end leaves no alias.
	testnet.Sh(t, "ip", "link", "set", "fwvx4096", "alias", "")
	testnet.Sh(t, "ip", "route", "flush", "dev", "fwvx4096")
	statetest.Ensure(t, statetest.Open(t, nil), o, false)
	statetest.Verifies(t, nil, overlay(peers(1)))
}

// TestOverlayRetires when no container is left.
func TestOverlayRetires(t *testing.T) {
	k, container := statetest.NewPair(t)
	testnet.Sh(t, "ip", "link", "add", "eth0", "up", "type", "bridge")
	testnet.Sh(t, "ip", "addr", "add", "192.0.2.11/24", "dev", "eth0")
	o := overlay(peers(1))
	veth := state.Veth{Owner: statetest.Owner("a"), MAC: statetest.Owner("a").MAC()}
	statetest.Apply(t, k, state.Shared(o), veth)
	if err := (state.Set{state.Shared(o)}).Retire(statetest.Open(t, container)); err != nil {
		t.Fatal(err)
	}
	statetest.Verifies(t, nil, o)
	statetest.Removes(t, container, veth)
	if err := (state.Set{state.Shared(o)}).Retire(statetest.Open(t, container)); err != nil {
		t.Fatal(err)
	}
	statetest.Drifts(t, nil, o, "link fwvx4096 is gone")
}
