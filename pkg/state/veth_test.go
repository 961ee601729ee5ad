package state_test

import (
	"net"
	"os"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/bridging"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestVeth(t *testing.T) {
	testnet.NewHost(t)
	container := testnet.NewNS(t, "c")
	o := statetest.Owner("a")
	veth := state.Veth{Owner: o, MAC: o.MAC(), MTU: 1400, Bridge: "br0"}
	statetest.Apply(t, statetest.Open(t, container), bridging.Bridge{Name: "br0"})
	statetest.Drifts(t, container, veth, "link eth0 is gone from the container's namespace")
	statetest.Drifts(t, container, veth, "link "+o.HostLink()+" is gone from the host's namespace")

	statetest.Ensure(t, statetest.Open(t, container), veth, true)
	statetest.Verifies(t, container, veth)
	statetest.Shows(t, container.Sh(t, "ip", "link", "show", "eth0"), "mtu 1400", "UP", o.MAC().String())
	statetest.Shows(t, testnet.Sh(t, "ip", "link", "show", o.HostLink()), "mtu 1400", "UP", "master br0", "alias "+o.Tag())

	statetest.Removes(t, container, veth)
	statetest.Lacks(t, testnet.Sh(t, "ip", "link"), "veth")
	statetest.Lacks(t, container.Sh(t, "ip", "link"), "eth0")
}

func TestVethOptions(t *testing.T) {
	for _, test := range []struct {
		name  string
		veth  state.Veth
		shows []string
		undo  []string
		drift string
	}{
		{"plain", state.Veth{}, []string{"hairpin off", "isolated off"}, []string{"ip", "link", "set", "PORT", "nomaster"}, "is not a port of br0"},
		{"hairpin", state.Veth{Hairpin: true}, []string{"hairpin on"}, []string{"bridge", "link", "set", "dev", "PORT", "hairpin", "off"}, "hairpin off"},
		{"isolated", state.Veth{Isolated: true}, []string{"isolated on"}, []string{"bridge", "link", "set", "dev", "PORT", "isolated", "off"}, "not isolated"},
		{"both", state.Veth{Hairpin: true, Isolated: true}, []string{"hairpin on", "isolated on"}, []string{"ip", "link", "set", "PORT", "down"}, "is down"},
	} {
		t.Run(test.name, func(t *testing.T) {
			k, container := statetest.NewPair(t)
			veth := test.veth
			veth.Owner, veth.MAC, veth.Bridge = statetest.Owner("a"), statetest.Owner("a").MAC(), "br0"
			statetest.Apply(t, k, bridging.Bridge{Name: "br0"}, veth)
			statetest.Verifies(t, container, veth)
			statetest.Shows(t, testnet.Sh(t, "bridge", "-d", "link", "show", "dev", veth.Owner.HostLink()), test.shows...)
			for i, word := range test.undo {
				if word == "PORT" {
					test.undo[i] = veth.Owner.HostLink()
				}
			}
			testnet.Sh(t, test.undo[0], test.undo[1:]...)
			statetest.Drifts(t, container, veth, test.drift)
		})
	}
}

func TestVethContainerEndDrifts(t *testing.T) {
	k, container := statetest.NewPair(t)
	veth := state.Veth{Owner: statetest.Owner("a"), MAC: statetest.Owner("a").MAC()}
	statetest.Apply(t, k, veth)
	other := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	container.Sh(t, "ip", "link", "set", "eth0", "address", other.String(), "down")
	statetest.Drifts(t, container, veth, "eth0 has MAC 02:00:00:00:00:09 instead of "+veth.MAC.String())
	statetest.Drifts(t, container, veth, "eth0 in the container is down")
	// A later plugin of the chain may have changed the address, and recorded it.
	veth.RecordedMAC, veth.Down = other, true
	statetest.Verifies(t, container, veth)
	container.Sh(t, "ip", "link", "del", "eth0")
	container.Sh(t, "ip", "link", "add", "eth0", "address", other.String(), "type", "bridge")
	statetest.Drifts(t, container, veth, "eth0 in the container is a bridge, not a veth")
}

// The ends' MTU is compared where one is declared. In the container it may be lower, as a later plugin of the chain left it.
func TestVethMTUDrifts(t *testing.T) {
	k, container := statetest.NewPair(t)
	veth := state.Veth{Owner: statetest.Owner("a"), MAC: statetest.Owner("a").MAC(), MTU: 1400}
	statetest.Apply(t, k, veth)
	container.Sh(t, "ip", "link", "set", "eth0", "mtu", "1300")
	statetest.Verifies(t, container, veth)
	container.Sh(t, "ip", "link", "set", "eth0", "mtu", "1500")
	testnet.Sh(t, "ip", "link", "set", veth.Owner.HostLink(), "mtu", "1280")
	statetest.Drifts(t, container, veth, "eth0 in the container has MTU 1500, more than the 1400 of its host end")
	statetest.Drifts(t, container, veth, veth.Owner.HostLink()+" has MTU 1280 instead of 1400")
	veth.MTU = 0
	statetest.Verifies(t, container, veth)
}

func TestVethDown(t *testing.T) {
	k, container := statetest.NewPair(t)
	veth := state.Veth{Owner: statetest.Owner("a"), MAC: statetest.Owner("a").MAC(), Down: true}
	statetest.Apply(t, k, veth)
	statetest.Verifies(t, container, veth)
	statetest.Shows(t, container.Sh(t, "ip", "link", "show", "eth0"), "state DOWN")
	statetest.Lacks(t, container.Sh(t, "ip", "link", "show", "eth0"), "UP")
}

// A name that the container uses is an error, and nothing is left on either side.
func TestVethNameTaken(t *testing.T) {
	k, container := statetest.NewPair(t)
	container.Sh(t, "ip", "link", "add", "eth0", "type", "bridge")
	veth := state.Veth{Owner: statetest.Owner("a"), MAC: statetest.Owner("a").MAC()}
	statetest.Fails(t, veth.Free(k), state.ErrExists, "interface eth0")
	_, err := veth.Ensure(k)
	statetest.Fails(t, err, state.ErrExists, "interface eth0")
	statetest.Lacks(t, testnet.Sh(t, "ip", "link"), "veth")
	statetest.Shows(t, container.Sh(t, "ip", "-d", "link", "show", "eth0"), "bridge")
}

// A second ADD of a living attachment must not take its link away.
func TestVethTwice(t *testing.T) {
	k, container := statetest.NewPair(t)
	veth := state.Veth{Owner: statetest.Owner("a"), MAC: statetest.Owner("a").MAC()}
	statetest.Apply(t, k, veth)
	_, err := veth.Ensure(statetest.Open(t, container))
	statetest.Fails(t, err, state.ErrExists, "interface eth0")
	statetest.Verifies(t, container, veth)
}

// A host's end that the owner has already, for another namespace, is not taken: who knows whether somebody lives there deletes it first.
func TestVethOfAnotherLife(t *testing.T) {
	testnet.NewHost(t)
	before, after := testnet.NewNS(t, "before"), testnet.NewNS(t, "after")
	veth := state.Veth{Owner: statetest.Owner("a"), MAC: statetest.Owner("a").MAC()}
	statetest.Ensure(t, statetest.Open(t, before), veth, true)
	k := statetest.Open(t, after)
	_, err := veth.Ensure(k)
	statetest.Fails(t, err, state.ErrExists, "made by another ADD")
	statetest.Verifies(t, before, veth)
	statetest.Lacks(t, after.Sh(t, "ip", "link"), "eth0")

	end, err := state.LastEnd(k, veth.Owner)
	if err != nil {
		t.Fatal(err)
	}
	if err := state.DeleteLink(k.Host, end); err != nil {
		t.Fatal(err)
	}
	statetest.Ensure(t, k, veth, true)
	statetest.Verifies(t, after, veth)
	statetest.Lacks(t, before.Sh(t, "ip", "link"), "eth0")
}

// A bridge that has gone meanwhile is worth another try, and leaves nothing.
func TestVethWithoutBridge(t *testing.T) {
	k, container := statetest.NewPair(t)
	statetest.Apply(t, k, bridging.Bridge{Name: "br0"})
	if _, err := k.Host.Link("br0"); err != nil { // k remembers it
		t.Fatal(err)
	}
	testnet.Sh(t, "ip", "link", "del", "br0")
	_, err := state.Veth{Owner: statetest.Owner("a"), MAC: statetest.Owner("a").MAC(), Bridge: "br0"}.Ensure(k)
	statetest.Fails(t, err, state.ErrVanished, "veth")
	statetest.Lacks(t, testnet.Sh(t, "ip", "link"), "veth")
	statetest.Lacks(t, container.Sh(t, "ip", "link"), "eth0")
}

func TestVethRemoveWithoutContainer(t *testing.T) {
	k, _ := statetest.NewPair(t)
	veth := state.Veth{Owner: statetest.Owner("a"), MAC: statetest.Owner("a").MAC()}
	statetest.Apply(t, k, veth)
	statetest.Removes(t, nil, veth)
	statetest.Lacks(t, testnet.Sh(t, "ip", "link"), "veth")
}

// The namespace may end in the middle of an ADD: its links go with it, and so do the handles' answers.
func TestVethOfVanishedNamespace(t *testing.T) {
	testnet.NewHost(t)
	container, err := testnet.New("vanishing")
	if err != nil {
		t.Fatal(err)
	}
	k := statetest.Open(t, container)
	veth := state.Veth{Owner: statetest.Owner("a"), MAC: statetest.Owner("a").MAC()}
	statetest.Ensure(t, k, veth, true)
	if err := container.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(container.Path); !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := veth.Remove(k); err != nil {
		t.Errorf("Remove by the handles of the ADD: %v", err)
	}
	statetest.Removes(t, nil, veth)
}

// TestVethRemovesByName: without a host end of ours, what has the interface's name in the container goes when it is of the mode's
// kind, whoever made it and whatever is recorded of it; but not what another attachment of ours has made there since.
func TestVethRemovesByName(t *testing.T) {
	const theirs = "ip link add veth1234 type veth peer name eth0 netns "
	for _, tt := range []struct {
		name string
		make func(t *testing.T, container *testnet.Namespace)
		gone bool
	}{
		{"of another suite", func(t *testing.T, c *testnet.Namespace) { testnet.Sh(t, "sh", "-c", theirs+c.Path) }, true},
		{"with both ends in the container", func(t *testing.T, c *testnet.Namespace) {
			c.Sh(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
		}, true},
		{"of a network called otherwise", func(t *testing.T, c *testnet.Namespace) {
			o := statetest.Owner("a")
			o.Network = "before"
			statetest.Apply(t, statetest.Open(t, c), state.Veth{Owner: o, MAC: o.MAC()})
		}, true},
		{"of another container", func(t *testing.T, c *testnet.Namespace) {
			statetest.Apply(t, statetest.Open(t, c), state.Veth{Owner: statetest.Owner("b"), MAC: statetest.Owner("b").MAC()})
		}, false},
		{"of another container, half made", func(t *testing.T, c *testnet.Namespace) {
			statetest.Apply(t, statetest.Open(t, c), state.Veth{Owner: statetest.Owner("b"), MAC: statetest.Owner("b").MAC()})
			testnet.Sh(t, "ip", "link", "set", statetest.Owner("b").HostLink(), "alias", "")
		}, false},
		{"of another kind", func(t *testing.T, c *testnet.Namespace) {
			c.Sh(t, "ip", "link", "add", "eth0", "type", "ifb")
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			testnet.NewHost(t)
			container := testnet.NewNS(t, "c")
			tt.make(t, container)
			statetest.Removes(t, container, state.Veth{Owner: statetest.Owner("a")})
			links := container.Sh(t, "ip", "link")
			if strings.Contains(links, "eth0") == tt.gone {
				t.Errorf("left in the container: %s", links)
			}
		})
	}
}

func TestVethString(t *testing.T) {
	veth := state.Veth{Owner: statetest.Owner("a"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, MTU: 1400, Bridge: "br0", Hairpin: true, Isolated: true}
	port := statetest.Owner("a").HostLink()
	want := "ip link add " + port + " mtu 1400 type veth peer name eth0 mtu 1400 address 02:00:00:00:00:01 netns container" +
		" && sysctl -w net/ipv6/conf/eth0/accept_dad=0 && ip link set " + port + " up master br0 && bridge link set dev " + port + " hairpin on && bridge link set dev " + port + " isolated on"
	if got := veth.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
