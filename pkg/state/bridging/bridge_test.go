package bridging_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/bridging"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func macOf(t *testing.T, link string) string {
	t.Helper()
	return strings.Fields(testnet.Sh(t, "ip", "-o", "-br", "link", "show", link))[2]
}

func TestBridge(t *testing.T) {
	testnet.NewHost(t)
	bridge := bridging.Bridge{Name: "br0", MTU: 1400, Promisc: true}
	statetest.Drifts(t, nil, bridge, "bridge br0 is gone")
	statetest.Ensure(t, statetest.Open(t, nil), bridge, true)
	statetest.Shows(t, testnet.Sh(t, "ip", "-d", "link", "show", "br0"), "mtu 1400", ",UP", "bridge", "group 4001", "PROMISC", "promiscuity 1")
	if got := testnet.Sh(t, "sysctl", "-n", "net/ipv6/conf/br0/accept_ra"); got != "0" {
		t.Errorf("accept_ra is %s", got)
	}
	statetest.Verifies(t, nil, bridge)
	statetest.Ensure(t, statetest.Open(t, nil), bridge, false)

	testnet.Sh(t, "ip", "link", "set", "br0", "down", "promisc", "off")
	statetest.Drifts(t, nil, bridge, "bridge br0 is down")
	statetest.Drifts(t, nil, bridge, "bridge br0 is not promiscuous")
	statetest.Ensure(t, statetest.Open(t, nil), bridge, false)
	statetest.Verifies(t, nil, bridge)
	statetest.Removes(t, nil, bridge)
	statetest.Lacks(t, testnet.Sh(t, "ip", "link"), "br0")
}

// An existing bridge is raised and joins the group; what its owner chose stays.
func TestBridgeAdopted(t *testing.T) {
	testnet.NewHost(t)
	testnet.Sh(t, "ip", "link", "add", "br0", "mtu", "1300", "address", "02:00:00:00:00:07", "type", "bridge")
	statetest.Ensure(t, statetest.Open(t, nil), bridging.Bridge{Name: "br0", MTU: 1400}, false)
	statetest.Shows(t, testnet.Sh(t, "ip", "link", "show", "br0"), "mtu 1300", ",UP", "02:00:00:00:00:07", "group 4001")
	statetest.Verifies(t, nil, bridging.Bridge{Name: "br0"})
}

func TestBridgeKeepsForeignGroup(t *testing.T) {
	testnet.NewHost(t)
	testnet.Sh(t, "ip", "link", "add", "br0", "group", "7", "type", "bridge")
	statetest.Ensure(t, statetest.Open(t, nil), bridging.Bridge{Name: "br0"}, false)
	statetest.Shows(t, testnet.Sh(t, "ip", "link", "show", "br0"), "group 7")
}

func TestBridgeOfOtherKind(t *testing.T) {
	testnet.NewHost(t)
	testnet.Sh(t, "ip", "link", "add", "br0", "type", "veth", "peer", "name", "x0")
	bridge := bridging.Bridge{Name: "br0"}
	_, err := bridge.Ensure(statetest.Open(t, nil))
	statetest.Fails(t, err, state.ErrConflict, "link br0 is a veth")
	statetest.Fails(t, bridge.Ready(statetest.Open(t, nil)), state.ErrConflict, "link br0 is a veth")
	statetest.Drifts(t, nil, bridge, "br0 is a veth, not a bridge")
	statetest.Shows(t, testnet.Sh(t, "ip", "link"), "br0")
}

func TestBridgeReady(t *testing.T) {
	testnet.NewHost(t)
	for range 2 { // without the bridge, and with it
		if err := (bridging.Bridge{Name: "br0"}).Ready(statetest.Open(t, nil)); err != nil {
			t.Error(err)
		}
		statetest.Ensure(t, statetest.Open(t, nil), bridging.Bridge{Name: "br0"}, !strings.Contains(testnet.Sh(t, "ip", "link"), "br0"))
	}
}

// The neighbours of a bridge remember its address, which without one of its own is the lowest of its ports'.
func TestBridgeMACIsStable(t *testing.T) {
	testnet.NewHost(t)
	bridge := bridging.Bridge{Name: "br0"}
	statetest.Ensure(t, statetest.Open(t, nil), bridge, true)
	want := macOf(t, "br0")
	if want == "00:00:00:00:00:00" {
		t.Error("the bridge has no address")
	}
	testnet.Sh(t, "ip", "link", "add", "p0", "address", "02:00:00:00:00:01", "type", "veth", "peer", "name", "p1")
	for _, command := range [][]string{
		{"ip", "link", "set", "p0", "up", "master", "br0"}, {"ip", "link", "set", "p1", "up", "master", "br0"},
		{"ip", "link", "del", "p0"},
	} {
		testnet.Sh(t, command[0], command[1:]...)
		if got := macOf(t, "br0"); got != want {
			t.Errorf("after %q the address is %s instead of %s", command, got, want)
		}
	}
	statetest.Removes(t, nil, bridge)
	statetest.Ensure(t, statetest.Open(t, nil), bridge, true)
	if got := macOf(t, "br0"); got != want {
		t.Errorf("a new bridge of the name has %s instead of %s", got, want)
	}
}

func TestBridgeMTUOfPath(t *testing.T) {
	for _, test := range []struct {
		name   string
		uplink []string
		want   string
	}{
		{"no way outside", nil, "mtu 1500"},
		{"an uplink with a small MTU", []string{"10.9.0.1/24", "10.9.0.254"}, "mtu 1280"},
		{"IPv6 alone", []string{"fd09::1/64", "fd09::fe"}, "mtu 1280"},
	} {
		t.Run(test.name, func(t *testing.T) {
			testnet.NewHost(t)
			if test.uplink != nil {
				testnet.Sh(t, "ip", "link", "add", "up0", "mtu", "1280", "type", "veth", "peer", "name", "up1")
				testnet.Sh(t, "ip", "link", "set", "up1", "up")
				testnet.Sh(t, "ip", "link", "set", "up0", "up")
				testnet.Sh(t, "ip", "addr", "add", test.uplink[0], "dev", "up0")
				testnet.Sh(t, "ip", "route", "add", "default", "via", test.uplink[1], "dev", "up0")
			}
			statetest.Ensure(t, statetest.Open(t, nil), bridging.Bridge{Name: "br0"}, true)
			statetest.Shows(t, testnet.Sh(t, "ip", "link", "show", "br0"), test.want)
		})
	}
}

func TestBridgeWithPortsStays(t *testing.T) {
	testnet.NewHost(t)
	bridge := bridging.Bridge{Name: "br0"}
	statetest.Ensure(t, statetest.Open(t, nil), bridge, true)
	testnet.Sh(t, "ip", "link", "add", "p0", "master", "br0", "type", "veth", "peer", "name", "p1")
	statetest.Removes(t, nil, bridge)
	statetest.Verifies(t, nil, bridge)
	testnet.Sh(t, "ip", "link", "del", "p0")
	statetest.Removes(t, nil, bridge)
	statetest.Drifts(t, nil, bridge, "gone")
}

// The kernel of the tests may have been built with VLAN filtering or without: each has its answer.
func TestBridgeVLANFiltering(t *testing.T) {
	testnet.NewHost(t)
	bridge := bridging.Bridge{Name: "br0", VLANFiltering: true}
	if filtersVLANs(t) {
		statetest.Ensure(t, statetest.Open(t, nil), bridge, true)
		statetest.Verifies(t, nil, bridge)
		// One that has ports.
		testnet.Sh(t, "ip", "link", "add", "br1", "up", "type", "bridge")
		testnet.Sh(t, "ip", "link", "add", "port", "master", "br1", "type", "veth", "peer", "name", "other")
		bridge.Name = "br1"
		statetest.Drifts(t, nil, bridge, "does not filter VLANs")
		statetest.Ensure(t, statetest.Open(t, nil), bridge, false)
		statetest.Verifies(t, nil, bridge)
		return
	}
	_, err := bridge.Ensure(statetest.Open(t, nil))
	statetest.Fails(t, err, state.ErrUnsupported, "CONFIG_BRIDGE_VLAN_FILTERING")
	statetest.Lacks(t, testnet.Sh(t, "ip", "link"), "br0")
	testnet.Sh(t, "ip", "link", "add", "br0", "type", "bridge")
	statetest.Drifts(t, nil, bridge, "does not filter VLANs")
	_, err = bridge.Ensure(statetest.Open(t, nil))
	statetest.Fails(t, err, state.ErrUnsupported, "CONFIG_BRIDGE_VLAN_FILTERING")
	statetest.Shows(t, testnet.Sh(t, "ip", "link"), "br0")
}

// filtersVLANs says whether the kernel has bridge VLAN filtering.
func filtersVLANs(t *testing.T) bool {
	t.Helper()
	return exec.Command("ip", "link", "add", "probe", "type", "bridge", "vlan_filtering", "1").Run() == nil
}

func TestBridgeString(t *testing.T) {
	for _, test := range []struct {
		bridge bridging.Bridge
		want   string
	}{
		{bridging.Bridge{Name: "br0"}, "ip link add br0 up type bridge"},
		{bridging.Bridge{Name: "br0", MTU: 1400, VLANFiltering: true}, "ip link add br0 mtu 1400 up type bridge vlan_filtering 1"},
		{bridging.Bridge{Name: "br0", Promisc: true}, "ip link add br0 up type bridge && ip link set br0 promisc on"},
	} {
		if got := test.bridge.String(); got != test.want {
			t.Errorf("%+v: %q, want %q", test.bridge, got, test.want)
		}
	}
}

// TestBridgeKeepsItsAddress: whatever made the bridge, and whatever ports come and go, in whichever order of their addresses, the
// address that it has at the first Ensure stays.
func TestBridgeKeepsItsAddress(t *testing.T) {
	for _, tt := range []struct{ name, make string }{
		{"made by fairway", ""},
		{"without a port", "ip link add br0 type bridge"},
		{"with the host's uplink", "ip link add br0 type bridge && ip link add up0 address 62:00:00:00:00:01 type veth peer name up1 && ip link set up0 master br0"},
		{"with an address that was set", "ip link add br0 address 62:00:00:00:00:02 type bridge"},
		{"in a group of its own", "ip link add br0 address 62:00:00:00:00:02 group 7 type bridge"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			testnet.NewHost(t)
			if tt.make != "" {
				testnet.Sh(t, "sh", "-c", tt.make)
			}
			bridge := bridging.Bridge{Name: "br0"}
			statetest.Ensure(t, statetest.Open(t, nil), bridge, tt.make == "")
			want := macOf(t, "br0")
			if want == "00:00:00:00:00:00" {
				t.Error("the bridge has no address")
			}
			for i, mac := range []string{"72:00:00:00:00:03", "02:00:00:00:00:02", "06:00:00:00:00:01"} {
				port := string(rune('a' + i))
				testnet.Sh(t, "ip", "link", "add", port+"0", "address", mac, "type", "veth", "peer", "name", port+"1")
				testnet.Sh(t, "ip", "link", "set", port+"0", "up", "master", "br0")
				statetest.Ensure(t, statetest.Open(t, nil), bridge, false)
				if got := macOf(t, "br0"); got != want {
					t.Errorf("with port %d: %s, want %s", i, got, want)
				}
			}
			for _, port := range []string{"b0", "a0", "c0"} {
				testnet.Sh(t, "ip", "link", "del", port)
				if got := macOf(t, "br0"); got != want {
					t.Errorf("without port %s: %s, want %s", port, got, want)
				}
			}
		})
	}
}

// TestAdoptedBridgeIsNotOurs: an address that fairway gave to a bridge it found does not make the bridge one to remove.
func TestAdoptedBridgeIsNotOurs(t *testing.T) {
	testnet.NewHost(t)
	testnet.Sh(t, "ip", "link", "add", "br0", "type", "bridge")
	statetest.Ensure(t, statetest.Open(t, nil), bridging.Bridge{Name: "br0"}, false)
	if got := macOf(t, "br0"); got == state.BridgeMAC("br0").String() {
		t.Errorf("%s is the address of a bridge that fairway made", got)
	}
}
