package state_test

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestPortVLANsString(t *testing.T) {
	for _, test := range []struct {
		vlans state.PortVLANs
		want  string
	}{
		{state.PortVLANs{Port: "p", Native: 10}, "bridge vlan del dev p vid 1 && bridge vlan add dev p vid 10 pvid untagged"},
		{state.PortVLANs{Port: "p", Tagged: []uint16{10, 11}, KeepDefault: true}, "bridge vlan add dev p vid 10 && bridge vlan add dev p vid 11"},
		{state.PortVLANs{Port: "p", Native: 1, Tagged: []uint16{10}},
			"bridge vlan del dev p vid 1 && bridge vlan add dev p vid 1 pvid untagged && bridge vlan add dev p vid 10"},
	} {
		if got := test.vlans.String(); got != test.want {
			t.Errorf("%+v: %q, want %q", test.vlans, got, test.want)
		}
	}
}

func TestVLANGatewayString(t *testing.T) {
	gateway := state.VLANGateway{Bridge: "br0", VLAN: 10}
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
	k, container := newPair(t)
	filters := filtersVLANs(t)
	apply(t, k, state.Bridge{Name: "br0", VLANFiltering: filters}, state.Veth{Owner: owner("a"), MAC: owner("a").MAC(), Bridge: "br0"})
	vlans := state.PortVLANs{Port: owner("a").HostLink(), Native: 10, Tagged: []uint16{20, 21}}
	gateway := state.VLANGateway{Bridge: "br0", VLAN: 10}
	if !filters {
		for _, o := range []state.Object{vlans, gateway} {
			_, err := o.Ensure(k)
			fails(t, err, state.ErrUnsupported, "CONFIG_BRIDGE_VLAN_FILTERING")
		}
		lacks(t, testnet.Sh(t, "ip", "link"), "br0.10")
		return
	}
	drifts(t, container, vlans, "VLAN 10")
	ensure(t, k, vlans, true)
	verifies(t, container, vlans)
	ensure(t, k, gateway, true)
	verifies(t, container, gateway)
	ensure(t, k, gateway, false)
	removes(t, container, gateway)
	drifts(t, container, gateway, "link br0.10 is gone")
}

func TestVLANGatewayRemove(t *testing.T) {
	testnet.NewHost(t)
	gateway := state.VLANGateway{Bridge: "br0", VLAN: 10}
	removes(t, nil, gateway)
	drifts(t, nil, gateway, "link br0.10 is gone")
}
