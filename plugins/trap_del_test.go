package plugins

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// wantGone expects what may be left after DEL: the bridge, which others use, and tables without an element.
func (a attachment) wantGone(t *testing.T) {
	t.Helper()
	found := a.traces(t)
	want := traces{Host: []string{"br0", "lo"}, Rules: found.Rules}
	if found.Container != nil {
		want.Container = []string{"lo"}
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("after DEL (-want +got):\n%s", diff)
	}
	if owners := a.elements(t); len(owners) > 0 {
		t.Errorf("elements after DEL: %v", owners)
	}
}

func TestDelRepeats(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c"))
	a = a.after(a.add(t))
	for range 3 {
		a.succeed(t, "DEL")
		a.wantGone(t)
	}
}

func TestDelBeforeAdd(t *testing.T) {
	for _, plugin := range []string{"bridge", "host", "macvlan", "none", "loopback", "host-local"} {
		t.Run(plugin, func(t *testing.T) {
			a := bridgeOn(t, testnet.NewNS(t, "c"))
			a.plugin = plugin
			if plugin == "none" || plugin == "loopback" {
				a = a.with("ipam", nil)
			}
			before := a.traces(t)
			a.succeed(t, "DEL")
			a.withEnv("CNI_NETNS", "").succeed(t, "DEL")
			a.withEnv("CNI_NETNS", "/run/netns/none").succeed(t, "DEL")
			a.wantUnchanged(t, before)
		})
	}
}

// TestDelWithNamespaceGone: masquerade and spoof rules, and the address, go without the container.
func TestDelWithNamespaceGone(t *testing.T) {
	container, err := testnet.New("vanishing-c")
	if err != nil {
		t.Fatal(err)
	}
	a := bridgeOn(t, container)
	a = a.after(a.add(t))
	if err := container.Close(); err != nil {
		t.Fatal(err)
	}
	if len(a.elements(t)) == 0 || len(a.reservations(t)) == 0 {
		t.Fatal("nothing to clean up")
	}
	a.succeed(t, "DEL")
	a.wantGone(t)
}

func TestDelWithoutPrevResultAndNamespace(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c"))
	a.add(t)
	a.withEnv("CNI_NETNS", "").succeed(t, "DEL")
	a.wantGone(t)
}

// TestDelOfAStoppedContainer: nerdctl calls DEL before ADD and again after the container has stopped.
func TestDelOfAStoppedContainer(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c")).withEnv("CNI_ARGS", "IgnoreUnknown=1;IP=;MAC=;NERDCTL_CNI_DHCP_HOSTNAME=web")
	stopped := a.withEnv("CNI_NETNS", "")
	stopped.succeed(t, "DEL")
	a.add(t)
	stopped.succeed(t, "DEL")
	a.wantGone(t)
}

// TestDelOfTheHost: what a namespace path leads to may be the host's by then. Nothing of it is touched.
func TestDelOfTheHost(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c"))
	a.host.Sh(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "outside")
	a = a.withEnv("CNI_NETNS", a.host.Path)
	before := a.traces(t)
	a.succeed(t, "DEL")
	a.wantUnchanged(t, before)
}

// TestDelWithAResultThatIsNone: a broken cache of the runtime must not keep anything from going.
func TestDelWithAResultThatIsNone(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c"))
	a.add(t)
	a.with("prevResult", map[string]any{"ips": []any{nil}}).succeed(t, "DEL")
	a.wantGone(t)
}

// mistakes are changes of a configuration, since the ADD, by which an ADD would be refused or make other rules.
func mistakes() map[string]func(attachment) attachment {
	key := func(name string, value any) func(attachment) attachment {
		return func(a attachment) attachment { return a.with(name, value) }
	}
	ipam := func(name string, value any) func(attachment) attachment {
		return func(a attachment) attachment { return a.withIPAM(name, value) }
	}
	return map[string]func(attachment) attachment{
		"none":                 func(a attachment) attachment { return a },
		"no masquerade":        key("ipMasq", nil),
		"no spoof check":       key("macspoofchk", nil),
		"internal":             key("internal", true),
		"wrong type":           key("ipMasq", "yes"),
		"wrong type of dns":    key("dns", "192.0.2.53"),
		"keys that exclude":    func(a attachment) attachment { return a.with("hairpinMode", true).with("promiscMode", true) },
		"long bridge name":     key("bridge", "br0123456789abcd"),
		"VLAN out of range":    key("vlan", 5000),
		"MAC that is none":     key("runtimeConfig", map[string]any{"mac": "one"}),
		"gateway outside":      ipam("ranges", [][]map[string]string{{{"subnet": "10.1.0.0/24", "gateway": "10.2.0.1"}}}),
		"other subnet":         ipam("ranges", [][]map[string]string{{{"subnet": "10.9.0.0/24"}}}),
		"no ranges":            ipam("ranges", nil),
		"wrong type of ipam":   ipam("ranges", "10.1.0.0/24"),
		"routes that are none": ipam("routes", []string{"default"}),
	}
}

// TestDelAfterAMistake: what ADD would refuse keeps nothing from going, nor does a key that has been taken away since.
func TestDelAfterAMistake(t *testing.T) {
	for name, change := range mistakes() {
		t.Run(name, func(t *testing.T) {
			a := bridgeOn(t, testnet.NewNS(t, "c"))
			a.add(t)
			a = change(a)
			a.withEnv("CNI_ARGS", "IP=none;MAC=none").succeed(t, "DEL")
			a.wantGone(t)
		})
	}
}

// TestGCAfterAMistake is the same for GC.
func TestGCAfterAMistake(t *testing.T) {
	for name, change := range mistakes() {
		t.Run(name, func(t *testing.T) {
			a := bridgeOn(t, testnet.NewNS(t, "c"))
			a.add(t)
			a = change(a).with("cni.dev/valid-attachments", []any{})
			a.gcCall().succeed(t, "GC")
			a.wantGone(t)
		})
	}
}

// TestNoneDelLeavesLoopback: others may use the namespace.
func TestNoneDelLeavesLoopback(t *testing.T) {
	container := testnet.NewNS(t, "c")
	a := noneOn(t, "none", container)
	a = a.after(a.add(t))
	a.succeed(t, "DEL")
	a.succeed(t, "DEL")
	a.succeed(t, "CHECK")
}
