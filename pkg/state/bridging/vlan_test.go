package bridging_test

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/bridging"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestPortVLANsString(t *testing.T) {
	for _, test := range []struct {
		vlans bridging.PortVLANs
		want  string
	}{
		{bridging.PortVLANs{Port: "p", Native: 10}, "bridge vlan del dev p vid 1 && bridge vlan add dev p vid 10 pvid untagged"},
		{bridging.PortVLANs{Port: "p", Tagged: []uint16{10, 11}, KeepDefault: true}, "bridge vlan add dev p vid 10 && bridge vlan add dev p vid 11"},
		{bridging.PortVLANs{Port: "p", Native: 1, Tagged: []uint16{10}},
			"bridge vlan del dev p vid 1 && bridge vlan add dev p vid 1 pvid untagged && bridge vlan add dev p vid 10"},
	} {
		if got := test.vlans.String(); got != test.want {
			t.Errorf("%+v: %q, want %q", test.vlans, got, test.want)
		}
	}
}

func TestVLANGatewayString(t *testing.T) {
	gateway := bridging.VLANGateway{Bridge: "br0", VLAN: 10}
	port := state.Owner{ContainerID: "br0", IfName: "br0.10"}.HostLink()
	want := "ip link add " + port + " type veth peer name br0.10 && ip link set " + port + " up master br0" +
		" && bridge vlan del dev " + port + " vid 1 && bridge vlan add dev " + port + " vid 10 pvid untagged"
	if got := gateway.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := gateway.Link(); got != "br0.10" {
		t.Errorf("link %q", got)
	}
}

// The kernel of the tests may have been built with VLAN filtering or without: each has its answer.
func TestVLANs(t *testing.T) {
	k, container := statetest.NewPair(t)
	filters := filtersVLANs(t)
	statetest.Apply(t, k, bridging.Bridge{Name: "br0", VLANFiltering: filters}, state.Veth{Owner: statetest.Owner("a"), MAC: statetest.Owner("a").MAC(), Bridge: "br0"})
	vlans := bridging.PortVLANs{Port: statetest.Owner("a").HostLink(), Native: 10, Tagged: []uint16{20, 21}}
	gateway := bridging.VLANGateway{Bridge: "br0", VLAN: 10}
	if !filters {
		for _, o := range []state.Object{vlans, gateway} {
			_, err := o.Ensure(k)
			statetest.Fails(t, err, state.ErrUnsupported, "CONFIG_BRIDGE_VLAN_FILTERING")
		}
		statetest.Lacks(t, testnet.Sh(t, "ip", "link"), "br0.10")
		return
	}
	statetest.Drifts(t, container, vlans, "VLAN 10")
	statetest.Ensure(t, k, vlans, true)
	statetest.Verifies(t, container, vlans)
	statetest.Ensure(t, k, gateway, true)
	statetest.Verifies(t, container, gateway)
	statetest.Ensure(t, k, gateway, false)
	statetest.Removes(t, container, gateway)
	statetest.Verifies(t, container, gateway) // containers are on the bridge
	testnet.Sh(t, "ip", "link", "del", statetest.Owner("a").HostLink())
	statetest.Removes(t, container, gateway)
	statetest.Drifts(t, container, gateway, "link br0.10 is gone")
}

func TestVLANGatewayRemove(t *testing.T) {
	testnet.NewHost(t)
	gateway := bridging.VLANGateway{Bridge: "br0", VLAN: 10}
	statetest.Removes(t, nil, gateway)
	statetest.Drifts(t, nil, gateway, "link br0.10 is gone")
}
