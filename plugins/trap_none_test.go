package plugins

import (
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// noneOn is an attachment to a network that has nothing but the loopback.
func noneOn(t *testing.T, plugin string, container *testnet.Namespace) attachment {
	t.Helper()
	a := attachment{
		host: testnet.NewNS(t, "host"), plugin: plugin, env: map[string]string{"CNI_PATH": binDir},
		conf: map[string]any{"cniVersion": "1.1.0", "name": "alone", "type": plugin},
	}
	return a.on(container, "eth0")
}

func TestNone(t *testing.T) {
	for _, plugin := range []string{"none", "loopback"} {
		t.Run(plugin, func(t *testing.T) {
			container := testnet.NewNS(t, "c")
			a := noneOn(t, plugin, container)
			got := a.add(t)
			want := &types100.Result{
				CNIVersion: "1.1.0",
				Interfaces: []*types100.Interface{{Name: "lo", Mtu: 65536, Sandbox: container.Path}},
				IPs:        []*types100.IPConfig{ipOf(t, "127.0.0.1/8", ""), ipOf(t, "::1/128", "")},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"lo"}, links(t, container)); diff != "" {
				t.Errorf("links (-want +got):\n%s", diff)
			}
			a.after(got).succeed(t, "CHECK")
		})
	}
}

// TestNonePassesResultThrough: it may stand anywhere in a chain.
func TestNonePassesResultThrough(t *testing.T) {
	prev := &types100.Result{
		CNIVersion: "1.1.0",
		Interfaces: []*types100.Interface{{Name: "eth0", Mac: "02:00:00:00:00:01", Mtu: 1400, Sandbox: "/run/netns/c"}},
		IPs:        []*types100.IPConfig{ipOf(t, "10.1.0.2/24", "10.1.0.1")},
	}
	a := noneOn(t, "loopback", testnet.NewNS(t, "c")).after(prev)
	if diff := cmp.Diff(prev, a.add(t)); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	a.succeed(t, "CHECK")
}

// TestNoneAgain: a second ADD finds the loopback up, and has nothing to refuse.
func TestNoneAgain(t *testing.T) {
	a := noneOn(t, "none", testnet.NewNS(t, "c"))
	if diff := cmp.Diff(a.add(t), a.add(t)); diff != "" {
		t.Errorf("result (-first +second):\n%s", diff)
	}
}

func TestNoneCheckFindsDrift(t *testing.T) {
	container := testnet.NewNS(t, "c")
	a := noneOn(t, "none", container)
	a = a.after(a.add(t))
	container.Sh(t, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
	container.Sh(t, "ip", "link", "set", "lo", "down")
	wantText(t, "sentence", "drift: lo in the container's namespace is down; drift: lo has no address 127.0.0.1/8; "+
		"drift: lo has no address ::1/128", a.fail(t, "CHECK", 100))
}
