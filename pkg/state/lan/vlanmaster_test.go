package lan_test

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/lan"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func vlan(container, name string) lan.VLANMaster {
	return lan.VLANMaster{Owner: statetest.Owner(container), Master: lan.Master{Name: name}}
}

func TestMasterVLAN(t *testing.T) {
	for _, test := range []struct {
		master lan.Master
		parent string
		id     int
		ok     bool
	}{
		{lan.Master{Name: "eth0.10"}, "eth0", 10, true},
		{lan.Master{Name: "br.lan.4094"}, "br.lan", 4094, true},
		{lan.Master{Name: "eth0.1"}, "eth0", 1, true},
		{lan.Master{Name: "eth0"}, "", 0, false},
		{lan.Master{Name: ""}, "", 0, false},
		{lan.Master{Name: ".10"}, "", 0, false},
		{lan.Master{Name: "eth0."}, "", 0, false},
		{lan.Master{Name: "eth0.0"}, "", 0, false},
		{lan.Master{Name: "eth0.4095"}, "", 0, false},
		{lan.Master{Name: "eth0.010"}, "", 0, false},
		{lan.Master{Name: "eth0.+1"}, "", 0, false},
		{lan.Master{Name: "eth0.lan"}, "", 0, false},
		{lan.Master{Name: "eth0.10", In: state.Container}, "", 0, false},
	} {
		parent, id, ok := test.master.VLAN()
		if parent != test.parent || id != test.id || ok != test.ok {
			t.Errorf("%q: got %q, %d, %t, want %q, %d, %t", test.master.Name, parent, id, ok, test.parent, test.id, test.ok)
		}
	}
}

// This kernel may have no VLANs: what is then said, and that nothing is left. Where it has them, the interface is made.
func TestVLANMaster(t *testing.T) {
	k, container := newCable(t)
	before := testnet.Sh(t, "ip", "-brief", "link")
	v, m := vlan("a", "lan0.10"), macvlan("a")
	m.Master.Name = "lan0.10"
	if err := m.Ready(k); err != nil {
		t.Errorf("Ready of a link on an interface that can be made: %v", err)
	}
	if err := v.Ready(k); err != nil {
		t.Errorf("Ready: %v", err)
	}
	if created, err := v.Ensure(k); err != nil {
		statetest.Fails(t, err, state.ErrUnsupported, "master lan0.10 is a VLAN interface to make (CONFIG_VLAN_8021Q), "+
			"not supported by the running kernel: name an interface that exists, or use a kernel that has it")
		if created {
			t.Error("Ensure says that it made the interface")
		}
	} else {
		statetest.Ensure(t, statetest.Open(t, container), m, true)
		statetest.Verifies(t, container, m)
		statetest.Shows(t, testnet.Sh(t, "ip", "-d", "link", "show", "lan0.10"), "vlan protocol 802.1Q id 10", ",UP")
		statetest.Removes(t, container, m)
	}
	statetest.Removes(t, nil, v)
	if got := testnet.Sh(t, "ip", "-brief", "link"); got != before {
		t.Errorf("links of the host: got\n%s\nwant\n%s", got, before)
	}
}

// newVLAN gives the host what stands for a VLAN interface that fairway made: only its group tells.
func newVLAN(t *testing.T, name string) {
	t.Helper()
	testnet.Sh(t, "ip", "link", "add", name, "group", "4002", "type", "bridge")
}

// The interface goes with its last user, of whatever network.
func TestVLANMasterGoesWithItsLastUser(t *testing.T) {
	k, _ := newCable(t)
	newVLAN(t, "lan0.10")
	a, b := vlan("a", "lan0.10"), vlan("b", "lan0.10")
	b.Owner.Network = "other"
	statetest.Ensure(t, k, a, true)
	statetest.Ensure(t, k, b, true)
	statetest.Removes(t, nil, a)
	statetest.Shows(t, testnet.Sh(t, "ip", "link"), "lan0.10:")
	// The configuration may name another master by now.
	b.Master.Name = "lan0.20"
	statetest.Removes(t, nil, b)
	statetest.Lacks(t, testnet.Sh(t, "ip", "link"), "lan0.10:")
}

func TestVLANMasterIsPruned(t *testing.T) {
	k, _ := newCable(t)
	newVLAN(t, "lan0.10")
	statetest.Apply(t, k, vlan("a", "lan0.10"), vlan("b", "lan0.10"))
	for _, valid := range [][]state.Owner{{statetest.Owner("a"), statetest.Owner("b")}, {statetest.Owner("b")}} {
		if err := lan.PruneClaims(statetest.Open(t, nil), "net", valid, nil); err != nil {
			t.Fatal(err)
		}
		statetest.Shows(t, testnet.Sh(t, "ip", "link"), "lan0.10:")
	}
	if err := lan.PruneClaims(statetest.Open(t, nil), "net", nil, nil); err != nil {
		t.Fatal(err)
	}
	statetest.Lacks(t, testnet.Sh(t, "ip", "link"), "lan0.10:")
}

// An interface that somebody else made is used, and stays.
func TestVLANMasterOfTheAdministrator(t *testing.T) {
	k, container := newCable(t)
	testnet.Sh(t, "ip", "link", "add", "lan0.10", "type", "bridge")
	v, m := vlan("a", "lan0.10"), macvlan("a")
	m.Master.Name = "lan0.10"
	statetest.Ensure(t, k, v, false)
	statetest.Ensure(t, k, m, true)
	statetest.Verifies(t, container, m)
	statetest.Removes(t, container, m)
	statetest.Removes(t, nil, v)
	statetest.Shows(t, testnet.Sh(t, "ip", "link"), "lan0.10:")
}

func TestVLANMasterWithoutParent(t *testing.T) {
	k, _ := newCable(t)
	const text = "master lan9.10 does not exist in the host's namespace, and neither does lan9 to make it on: name an interface in key master"
	_, err := vlan("a", "lan9.10").Ensure(k)
	statetest.Fails(t, err, state.ErrAbsent, text)
	statetest.Fails(t, vlan("a", "lan9.10").Ready(k), state.ErrAbsent, text)
}

func TestVLANMasterOfAnotherName(t *testing.T) {
	k, _ := newCable(t)
	v := vlan("a", "lan0")
	statetest.Ensure(t, k, v, false)
	if err := v.Ready(k); err != nil || v.String() != "" {
		t.Errorf("Ready: %v, String: %q", err, v)
	}
	statetest.Removes(t, nil, v)
}
