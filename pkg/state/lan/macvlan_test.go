package lan_test

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/lan"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// newCable gives a test a host with an interface called lan0 of a physical network, and a container.
func newCable(t *testing.T) (*kernel.Kernel, *testnet.Namespace) {
	t.Helper()
	k, container := statetest.NewPair(t)
	testnet.Sh(t, "ip", "link", "add", "lan0", "address", "02:00:00:00:00:0a", "type", "veth", "peer", "name", "wire")
	testnet.Sh(t, "ip", "link", "set", "wire", "up")
	testnet.Sh(t, "ip", "link", "set", "lan0", "up")
	awaitCarriers(t, 2)
	return k, container
}

// awaitCarriers waits until as many links of the host have their carrier: the kernel finds it a moment later, in the background, and
// tests compare links as they were and are.
func awaitCarriers(t *testing.T, links int) {
	t.Helper()
	for strings.Count(testnet.Sh(t, "ip", "link"), "state UP") < links {
		time.Sleep(time.Millisecond)
	}
}

// macvlan is the link of a container on lan0.
func macvlan(container string) lan.Macvlan {
	return lan.Macvlan{Owner: statetest.Owner(container), Master: lan.Master{Name: "lan0"}, Mode: lan.MacvlanBridge}
}

func TestMacvlan(t *testing.T) {
	for _, mode := range []lan.MacvlanMode{lan.MacvlanBridge, lan.MacvlanPrivate, lan.MacvlanVEPA, lan.MacvlanPassthru} {
		t.Run(string(mode), func(t *testing.T) {
			_, container := newCable(t)
			// A name that the host has is no obstacle.
			testnet.Sh(t, "ip", "link", "add", "eth0", "type", "bridge")
			host := testnet.Sh(t, "ip", "link")
			m := macvlan("a")
			m.Mode = mode
			statetest.Drifts(t, container, m, "link eth0 is gone from the container's namespace")

			statetest.Ensure(t, statetest.Open(t, container), m, true)
			statetest.Verifies(t, container, m)
			statetest.Shows(t, container.Sh(t, "ip", "-d", "link", "show", "eth0"), "macvlan mode "+string(mode), ",UP", "mtu 1500")
			statetest.Verifies(t, container, m)
			if got := testnet.Sh(t, "ip", "link"); mode != lan.MacvlanPassthru && got != host {
				t.Errorf("links of the host: got\n%s\nwant\n%s", got, host)
			}

			statetest.Removes(t, container, m)
			statetest.Lacks(t, container.Sh(t, "ip", "link"), "eth0")
			statetest.Shows(t, testnet.Sh(t, "ip", "link"), "eth0:", "lan0")
		})
	}
}

func TestMacvlanOptions(t *testing.T) {
	k, container := newCable(t)
	m := macvlan("a")
	m.MTU, m.BroadcastQueue, m.MAC = 1400, 77, net.HardwareAddr{2, 0, 0, 0, 0, 7}
	statetest.Apply(t, k, m)
	statetest.Verifies(t, container, m)
	statetest.Shows(t, container.Sh(t, "ip", "-d", "link", "show", "eth0"), "mtu 1400", "bcqueuelen 77", "02:00:00:00:00:07")
}

// The address is the same whenever the container comes, and another for another container.
func TestMacvlanAddress(t *testing.T) {
	addressOf := func(t *testing.T, container string) (address string) {
		t.Run(container, func(t *testing.T) {
			k, ns := newCable(t)
			statetest.Apply(t, k, macvlan(container))
			_, after, _ := strings.Cut(ns.Sh(t, "ip", "link", "show", "eth0"), "link/ether ")
			address, _, _ = strings.Cut(after, " ")
			if mac, err := net.ParseMAC(address); err != nil || mac[0]&3 != 2 {
				t.Errorf("address %s: want a local unicast one", address)
			}
		})
		return address
	}
	first, again, other := addressOf(t, "a"), addressOf(t, "a"), addressOf(t, "b")
	if first != again || first == other {
		t.Errorf("addresses %s and %s of one container, %s of another", first, again, other)
	}
}

func TestMacvlanDrifts(t *testing.T) {
	for _, test := range []struct {
		name, change, drift string
	}{
		{"mode", "ip link set eth0 type macvlan mode private", "eth0 is in mode private instead of bridge"},
		{"queue", "ip link set eth0 type macvlan bcqueuelen 5", "eth0 has a broadcast queue of 5 instead of 77"},
		{"MTU", "ip link set eth0 mtu 1401", "eth0 has MTU 1401, more than the 1400 of the configuration"},
		{"MAC", "ip link set eth0 address 02:00:00:00:00:09", "eth0 has MAC 02:00:00:00:00:09 instead of 02:00:00:00:00:07"},
		{"down", "ip link set eth0 down", "eth0 in the container is down"},
		{"another link", "ip link set eth0 down && ip link set eth0 name eth1", "link eth0 is gone from the container's namespace"},
	} {
		t.Run(test.name, func(t *testing.T) {
			k, container := newCable(t)
			m := macvlan("a")
			m.MTU, m.BroadcastQueue, m.MAC = 1400, 77, net.HardwareAddr{2, 0, 0, 0, 0, 7}
			statetest.Apply(t, k, m)
			container.Sh(t, "sh", "-c", test.change)
			statetest.Drifts(t, container, m, test.drift)
		})
	}
}

func TestMacvlanOnAnotherMasterDrifts(t *testing.T) {
	k, container := newCable(t)
	testnet.Sh(t, "ip", "link", "add", "lan1", "type", "bridge")
	statetest.Apply(t, k, macvlan("a"))
	m := macvlan("a")
	m.Master.Name = "lan1"
	statetest.Drifts(t, container, m, "eth0 does not lie on lan1")
	m.Master.Name = "lan2"
	statetest.Drifts(t, container, m, "link lan2 is gone from the host's namespace")
}

// A later plugin of the chain may have changed the address, and recorded it, and lowered the MTU.
func TestMacvlanBelievesTheRecord(t *testing.T) {
	k, container := newCable(t)
	m := macvlan("a")
	m.MTU = 1400
	statetest.Apply(t, k, m)
	container.Sh(t, "ip", "link", "set", "eth0", "mtu", "1300", "address", "02:00:00:00:00:09")
	m.RecordedMAC = net.HardwareAddr{2, 0, 0, 0, 0, 9}
	statetest.Verifies(t, container, m)
}

func TestMacvlanOfAnotherKindDrifts(t *testing.T) {
	_, container := newCable(t)
	container.Sh(t, "ip", "link", "add", "eth0", "type", "bridge")
	statetest.Drifts(t, container, macvlan("a"), "eth0 in the container is a bridge, not a macvlan")
	statetest.Removes(t, container, macvlan("a"))
	statetest.Shows(t, container.Sh(t, "ip", "link"), "eth0")
}

// What cannot be made is refused with a sentence, and leaves nothing.
func TestMacvlanRefuses(t *testing.T) {
	for _, test := range []struct {
		name, prepare string
		change        func(*lan.Macvlan)
		is            error
		text          string
	}{
		{"no master", "", func(m *lan.Macvlan) { m.Master.Name = "lan9" }, state.ErrAbsent,
			"master lan9 does not exist in the host's namespace: name an interface in key master"},
		{"no default route", "", func(m *lan.Macvlan) { m.Master.Name = "" }, state.ErrAbsent,
			"no default route leads to a master in the host's namespace: name an interface in key master"},
		{"loopback", "", func(m *lan.Macvlan) { m.Master.Name = "lo" }, state.ErrConflict,
			"master lo is no Ethernet interface: name one in key master"},
		{"MTU", "", func(m *lan.Macvlan) { m.MTU = 1501 }, state.ErrConflict,
			"key mtu is 1501, and master lan0 has 1500: give no more than that, or raise the master's"},
		{"bridge port", "ip link add br0 type bridge && ip link set lan0 master br0", nil, state.ErrConflict,
			"master lan0 is a port of br0, which takes its frames: name br0 in key master, or take lan0 out of it: device or resource busy"},
		{"passthru beside others", "ip link add link lan0 name other type macvlan",
			func(m *lan.Macvlan) { m.Mode = lan.MacvlanPassthru }, state.ErrConflict,
			"master lan0 has another macvlan interface, and mode passthru takes it for one alone: remove that one, or choose another mode or master"},
		{"beside passthru", "ip link add link lan0 name other type macvlan mode passthru", nil, state.ErrConflict,
			"master lan0 is taken by an interface in mode passthru, which lets no other beside it: remove that one, or name another interface in key master"},
		{"MAC in use", "ip link add link lan0 name other address 02:00:00:00:00:07 up type macvlan",
			func(m *lan.Macvlan) { m.MAC = net.HardwareAddr{2, 0, 0, 0, 0, 7} }, state.ErrConflict,
			"MAC 02:00:00:00:00:07 is in use on master lan0: ask for another"},
		{"no master in the container", "", func(m *lan.Macvlan) { m.Master.In = state.Container }, state.ErrAbsent,
			"master lan0 does not exist in the container's namespace: name an interface in key master"},
	} {
		t.Run(test.name, func(t *testing.T) {
			k, container := newCable(t)
			if test.prepare != "" {
				testnet.Sh(t, "sh", "-c", test.prepare)
			}
			m := macvlan("a")
			if test.change != nil {
				test.change(&m)
			}
			_, err := m.Ensure(k)
			statetest.Fails(t, err, test.is, test.text)
			if err != nil && err.Error() != test.text {
				t.Errorf("sentence: got %q, want %q", err, test.text)
			}
			statetest.Lacks(t, container.Sh(t, "ip", "link"), "eth0")
		})
	}
}

// A second ADD of a living attachment must not take its link away.
func TestMacvlanTwice(t *testing.T) {
	k, container := newCable(t)
	statetest.Apply(t, k, macvlan("a"))
	statetest.Fails(t, macvlan("a").Free(statetest.Open(t, container)), state.ErrExists, "interface eth0")
	_, err := macvlan("a").Ensure(statetest.Open(t, container))
	statetest.Fails(t, err, state.ErrExists, "interface eth0")
	statetest.Verifies(t, container, macvlan("a"))
}

// Without a name, the master is where the default route leads.
func TestMacvlanOnTheDefaultRoute(t *testing.T) {
	k, container := newCable(t)
	testnet.Sh(t, "ip", "addr", "add", "192.0.2.2/24", "dev", "lan0")
	testnet.Sh(t, "ip", "route", "add", "default", "via", "192.0.2.1")
	m := macvlan("a")
	m.Master.Name = ""
	statetest.Apply(t, k, m)
	statetest.Verifies(t, container, m)
	statetest.Verifies(t, container, macvlan("a"))
	testnet.Sh(t, "ip", "route", "del", "default") // the link stays where it is
	statetest.Verifies(t, container, m)
}

// The master may lie in the container, which a plugin before has given it.
func TestMacvlanInContainer(t *testing.T) {
	k, container := newCable(t)
	testnet.Sh(t, "ip", "link", "set", "lan0", "netns", container.Path)
	container.Sh(t, "ip", "link", "set", "lan0", "up")
	m := macvlan("a")
	m.Master.In = state.Container
	statetest.Apply(t, k, m)
	statetest.Verifies(t, container, m)
	statetest.Shows(t, container.Sh(t, "ip", "link"), "eth0@lan0")
	statetest.Removes(t, container, m)
	statetest.Lacks(t, container.Sh(t, "ip", "link"), "eth0")
}

// In mode passthru, the container has the master's address, or the master the container's, as long as it is there.
func TestMacvlanPassthruAddress(t *testing.T) {
	k, container := newCable(t)
	const masters, asked = "02:00:00:00:00:0a", "02:00:00:00:00:07"
	m := macvlan("a")
	m.Mode = lan.MacvlanPassthru
	undo := statetest.Apply(t, k, m)
	statetest.Shows(t, container.Sh(t, "ip", "link", "show", "eth0"), masters)
	if err := undo(); err != nil {
		t.Fatal(err)
	}

	m.MAC, _ = net.ParseMAC(asked)
	statetest.Apply(t, statetest.Open(t, container), m)
	statetest.Verifies(t, container, m)
	statetest.Shows(t, container.Sh(t, "ip", "link", "show", "eth0"), asked)
	statetest.Shows(t, testnet.Sh(t, "ip", "link", "show", "lan0"), asked)
	statetest.Removes(t, container, m)
	statetest.Shows(t, testnet.Sh(t, "ip", "link", "show", "lan0"), masters)
}

// A macvlan may be named as a master: the kernel takes what that one lies on.
func TestMacvlanOnAMacvlan(t *testing.T) {
	k, container := newCable(t)
	testnet.Sh(t, "ip", "link", "add", "link", "lan0", "name", "over", "up", "type", "macvlan", "mode", "bridge")
	m := macvlan("a")
	m.Master.Name = "over"
	statetest.Apply(t, k, m)
	statetest.Verifies(t, container, m)
	statetest.Verifies(t, container, macvlan("a"))
}

// TestMacvlanRemovesByName: what has the interface's name in the container goes when it is a macvlan, whoever made it and whatever is
// recorded of it; but not what another attachment of ours has made there since.
func TestMacvlanRemovesByName(t *testing.T) {
	other := func(o state.Owner) lan.Macvlan {
		m := macvlan("a")
		m.Owner = o
		return m
	}
	for _, tt := range []struct {
		name string
		make func(t *testing.T, container *testnet.Namespace)
		gone bool
	}{
		{"another suite's", func(t *testing.T, c *testnet.Namespace) {
			testnet.Sh(t, "ip", "link", "add", "link", "lan0", "name", "eth0", "netns", c.Path, "type", "macvlan")
		}, true},
		{"of a network called otherwise", func(t *testing.T, c *testnet.Namespace) {
			o := statetest.Owner("a")
			o.Network = "before"
			statetest.Apply(t, statetest.Open(t, c), other(o))
		}, true},
		{"of another container", func(t *testing.T, c *testnet.Namespace) {
			statetest.Apply(t, statetest.Open(t, c), macvlan("b"))
		}, false},
		{"of another network without its claim", func(t *testing.T, c *testnet.Namespace) {
			o := statetest.Owner("b")
			o.Network = "before"
			statetest.Apply(t, statetest.Open(t, c), other(o))
			if err := os.RemoveAll("/run/fairway"); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"of another kind", func(t *testing.T, c *testnet.Namespace) {
			c.Sh(t, "ip", "link", "add", "eth0", "type", "ifb")
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, container := newCable(t)
			tt.make(t, container)
			statetest.Removes(t, container, macvlan("a"))
			links := container.Sh(t, "ip", "link")
			if strings.Contains(links, "eth0") == tt.gone {
				t.Errorf("left in the container: %s", links)
			}
		})
	}
}

func TestMacvlanReady(t *testing.T) {
	k, _ := newCable(t)
	m := macvlan("")
	if err := m.Ready(k); err != nil {
		t.Errorf("Ready: %v", err)
	}
	testnet.Sh(t, "ip", "link", "set", "lan0", "down")
	statetest.Fails(t, m.Ready(statetest.Open(t, nil)), state.ErrLimited, "master lan0 is down: ip link set lan0 up")
	m.MTU = 9000
	statetest.Fails(t, m.Ready(statetest.Open(t, nil)), state.ErrConflict, "key mtu is 9000")
	m.Master.Name = "lan9"
	statetest.Fails(t, m.Ready(statetest.Open(t, nil)), state.ErrAbsent, "master lan9 does not exist")
	m.Master.In = state.Container
	if err := m.Ready(statetest.Open(t, nil)); err != nil {
		t.Errorf("Ready of a master in a container: %v", err)
	}
}

func TestMacvlanRemoveWithoutContainer(t *testing.T) {
	testnet.NewHost(t)
	statetest.Removes(t, nil, macvlan("a"))
}

func TestMacvlanString(t *testing.T) {
	m := lan.Macvlan{Owner: statetest.Owner("a"), Mode: lan.MacvlanVEPA, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, MTU: 1400, BroadcastQueue: 5}
	const up = " && sysctl -w net/ipv6/conf/eth0/accept_dad=0 && ip link set eth0 up"
	for _, test := range []struct {
		master lan.Master
		want   string
	}{
		{lan.Master{Name: "lan0"}, "ip link add link lan0 name eth0 address 02:00:00:00:00:01 mtu 1400 netns container type macvlan mode vepa bcqueuelen 5" + up},
		{lan.Master{In: state.Container}, "ip link add link $(ip route show default) name eth0 address 02:00:00:00:00:01 mtu 1400 type macvlan mode vepa bcqueuelen 5" + up},
	} {
		m.Master = test.master
		if got := m.String(); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}

// The physical network hears of a container's addresses.
func TestMacvlanIsAnnounced(t *testing.T) {
	for _, mode := range []lan.MacvlanMode{lan.MacvlanBridge, lan.MacvlanPassthru} {
		t.Run(string(mode), func(t *testing.T) {
			k, container := newCable(t)
			machine := testnet.NewNS(t, "machine")
			testnet.Sh(t, "ip", "link", "set", "wire", "netns", machine.Path)
			machine.Sh(t, "ip", "link", "set", "wire", "up")
			capture := machine.Capture(t, "wire")
			m := macvlan("a")
			m.Mode = mode
			announce := state.Announce{Link: "eth0", Addrs: addrs("10.0.0.2", "fd00::2")}
			statetest.Apply(t, k, m, statetest.Address("10.0.0.2/24"), statetest.Address("fd00::2/64"), announce)
			statetest.Hears(t, capture, announce)
			statetest.Verifies(t, container, m)
		})
	}
}
