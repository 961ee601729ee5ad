package lan_test

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/state/lan"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// An older kernel makes the link in two steps where the host has one of its name. One that a killed ADD has left between
// them is found by whoever comes next, also in mode passthru, where it holds the master.
func TestMacvlanDraftIsFound(t *testing.T) {
	for _, test := range []struct {
		name  string
		next  func(*testing.T, *testnet.Namespace, lan.Macvlan)
		again bool
	}{
		{"by DEL", func(t *testing.T, container *testnet.Namespace, m lan.Macvlan) { statetest.Removes(t, container, m) }, false},
		{"by DEL without the namespace", func(t *testing.T, _ *testnet.Namespace, m lan.Macvlan) { statetest.Removes(t, nil, m) }, false},
		{"by GC", func(t *testing.T, _ *testnet.Namespace, m lan.Macvlan) {
			if err := lan.PruneClaims(statetest.Open(t, nil), m.Owner.Network, nil, nil); err != nil {
				t.Error(err)
			}
		}, false},
		{"by ADD", func(t *testing.T, container *testnet.Namespace, m lan.Macvlan) {
			statetest.Ensure(t, statetest.Open(t, container), m, true)
			statetest.Verifies(t, container, m)
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			k, container := newCable(t)
			m := macvlan("a")
			m.Mode = lan.MacvlanPassthru
			statetest.Apply(t, k, m)
			draft := m.Owner.DraftLink()
			container.Sh(t, "ip", "link", "set", "eth0", "down") // as older kernels want it
			container.Sh(t, "ip", "link", "set", "eth0", "name", draft)

			test.next(t, container, m)
			links := container.Sh(t, "ip", "link")
			statetest.Lacks(t, links, draft)
			if !test.again {
				statetest.Lacks(t, links, "macvlan", "eth0")
			}
			statetest.Removes(t, container, m)
			testnet.Sh(t, "ip", "link", "add", "link", "lan0", "name", "free", "type", "macvlan", "mode", "passthru")
		})
	}
}

// A link of the draft's name that is not ours stays.
func TestMacvlanDraftOfOthersStays(t *testing.T) {
	_, container := newCable(t)
	m := macvlan("a")
	container.Sh(t, "ip", "link", "add", m.Owner.DraftLink(), "type", "bridge")
	statetest.Removes(t, container, m)
	statetest.Shows(t, container.Sh(t, "ip", "link"), m.Owner.DraftLink())
}
