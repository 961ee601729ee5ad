package plugins

import (
	"slices"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// accessOn is an attachment to a network whose containers and the host reach each other. The host has an address of the
// physical network on its interface.
func accessOn(t *testing.T, container *testnet.Namespace) (attachment, lan) {
	t.Helper()
	a, l := macvlanOn(t, container)
	a.host.Sh(t, "ip", "addr", "add", "10.1.0.10/24", "dev", "lan0")
	return a.with("hostAccess", true), l
}

// shim is the host's own link in the network, and its addresses.
func (a attachment) shim(t *testing.T) (name string, addresses []string) {
	t.Helper()
	var list []struct {
		IfName   string
		AddrInfo []struct{ Local, Scope string } `json:"addr_info"`
	}
	decodeShown(t, a.host, &list, "addr", "show", "type", "macvlan")
	if len(list) != 1 {
		t.Fatalf("macvlan links of the host: got %v, want one", list)
	}
	for _, addr := range list[0].AddrInfo {
		if addr.Scope == "global" {
			addresses = append(addresses, addr.Local)
		}
	}
	return list[0].IfName, addresses
}

// ways are the destinations of the host's routes through its own link, but for those that the kernel makes.
func (a attachment) ways(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, family := range []string{"-4", "-6"} {
		var list []struct{ Dst, Dev, Protocol string }
		decodeShown(t, a.host, &list, family, "route")
		for _, r := range list {
			if strings.HasPrefix(r.Dev, "shim") && r.Protocol != "kernel" {
				found = append(found, r.Dst)
			}
		}
	}
	slices.Sort(found)
	return found
}

// TestHostAccess: both ways, in both families, and the physical network as before.
func TestHostAccess(t *testing.T) {
	first, second := testnet.NewNS(t, "a"), testnet.NewNS(t, "b")
	a, l := accessOn(t, first)
	a.statusCall().succeed(t, "STATUS")
	before := a.traces(t)
	result := a.add(t)
	_, shim := a.shim(t)
	if diff := cmp.Diff([]string{"10.1.0.3", "fd01::3"}, shim); diff != "" {
		t.Errorf("addresses of the host in the network (-want +got):\n%s", diff)
	}
	b := a.on(second, "eth0")
	secondResult := b.add(t)
	if diff := cmp.Diff([]string{"10.1.0.2", "10.1.0.4", "fd01::2", "fd01::4"}, a.ways(t)); diff != "" {
		t.Errorf("routes to the containers (-want +got):\n%s", diff)
	}

	reaches(t, a.host, "10.1.0.2", "fd01::2", "10.1.0.4", "fd01::4", machineV4)
	reaches(t, first, append(shim, "10.1.0.10", "10.1.0.4", machineV4, machineV6)...)
	reaches(t, l.machine, "10.1.0.10", "10.1.0.2")
	wantText(t, "MAC of the host on the physical network", "02:00:00:00:00:0a", macSeen(t, l.machine, "10.1.0.10"))

	a.after(result).succeed(t, "CHECK")
	b.after(secondResult).succeed(t, "CHECK")
	a.after(result).succeed(t, "DEL")
	b.after(secondResult).succeed(t, "CHECK")
	reaches(t, a.host, "10.1.0.4")
	b.succeed(t, "DEL")
	a.wantUnchanged(t, before)
	if left := a.ways(t); len(left) > 0 {
		t.Errorf("routes after DEL: %v", left)
	}
}

// TestHostAccessIgnoresRequests: the address that a runtime asks for is the container's.
func TestHostAccessIgnoresRequests(t *testing.T) {
	a, _ := accessOn(t, testnet.NewNS(t, "c"))
	a = a.withEnv("CNI_ARGS", "IP=10.1.0.9").with("runtimeConfig", map[string]any{"ips": []string{"fd01::9"}})
	wantText(t, "address", "10.1.0.9/24", a.add(t).IPs[0].Address.String())
	if _, shim := a.shim(t); slices.Contains(shim, "10.1.0.9") || slices.Contains(shim, "fd01::9") || len(shim) != 2 {
		t.Errorf("addresses of the host: %v", shim)
	}
}

// TestHostAccessDel: without the result and the namespace, and after the key was taken away.
func TestHostAccessDel(t *testing.T) {
	container, err := testnet.New("access-vanishing-c")
	if err != nil {
		t.Fatal(err)
	}
	a, _ := accessOn(t, container)
	before := a.traces(t)
	a.add(t)
	a.with("hostAccess", nil).succeed(t, "DEL")
	a.wantUnchanged(t, before)

	a.add(t)
	a.with("mode", "private").succeed(t, "DEL") // which no ADD would take
	a.wantUnchanged(t, before)

	a.add(t)
	if err := container.Close(); err != nil {
		t.Fatal(err)
	}
	a.withEnv("CNI_NETNS", "").succeed(t, "DEL")
	before.Container = nil
	a.wantUnchanged(t, before)
}

// TestHostAccessFailedAdd leaves no link, route or reservation, not even the host's own.
func TestHostAccessFailedAdd(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, a attachment) attachment
		code  uint
		want  string
	}{
		{"no address for the host", func(_ *testing.T, a attachment) attachment {
			return a.withIPAM("ranges", [][]map[string]string{{{"subnet": "10.1.0.0/30"}}})
		}, 11, "range set 0 (10.1.0.1-10.1.0.2) has no free address, all 1 are reserved: " +
			"let GC release those of containers that are gone, or configure a larger range"},
		{"mode", func(_ *testing.T, a attachment) attachment { return a.with("mode", "vepa") }, 7,
			`key hostAccess is true and key mode is "vepa", in which no other interface reaches the container: set mode to "bridge", or remove hostAccess`},
		{"without addresses", func(_ *testing.T, a attachment) attachment { return a.with("ipam", nil) }, 7,
			`key hostAccess is true and key ipam.type is "": the host takes an address of its own from host-local, ` +
				`set ipam.type to "host-local", or remove hostAccess`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, _ := accessOn(t, testnet.NewNS(t, "c"))
			a = tt.spoil(t, a)
			before := a.traces(t)
			wantText(t, "sentence", tt.want, a.fail(t, "ADD", tt.code))
			a.wantUnchanged(t, before)
		})
	}
	a, _ := accessOn(t, testnet.NewNS(t, "pipe"))
	before := a.traces(t)
	a.addToNobody(t)
	a.wantUnchanged(t, before)
}

// TestHostAccessIsRepaired: a restart of the host's network takes the shim away, with the way to every container. The next ADD, or the
// CHECK of any, brings back all of them.
func TestHostAccessIsRepaired(t *testing.T) {
	first := testnet.NewNS(t, "c")
	a, _ := accessOn(t, first)
	result := a.add(t)
	b := a.on(testnet.NewNS(t, "d"), "eth0")
	b.add(t)
	name, _ := a.shim(t)
	a.host.Sh(t, "ip", "route", "del", "10.1.0.2", "dev", name)
	a.after(result).succeed(t, "CHECK")
	reaches(t, a.host, "10.1.0.2")
	a.host.Sh(t, "ip", "link", "del", name)
	a.after(result).succeed(t, "CHECK")
	reaches(t, a.host, "10.1.0.2", "10.1.0.4")
	a.host.Sh(t, "ip", "link", "del", name)
	a.on(testnet.NewNS(t, "e"), "eth0").add(t)
	reaches(t, a.host, "10.1.0.2", "10.1.0.4", "10.1.0.5")
	a.host.Sh(t, "ip", "link", "del", "lan0")
	if said := a.after(result).fail(t, "CHECK", 100); !strings.Contains(said, "drift: ") {
		t.Errorf("sentence: %s", said)
	}
}

// TestMacvlanGC: links in containers that are there still, the host's ways and its own addresses, and the reservations.
func TestMacvlanGC(t *testing.T) {
	first, second := testnet.NewNS(t, "a"), testnet.NewNS(t, "b")
	a, _ := accessOn(t, first)
	before := a.traces(t)
	a.add(t)
	b := a.on(second, "eth0")
	result := b.add(t)
	all := a.ways(t)
	for _, keys := range []map[string]any{nil, {"cni.dev/valid-attachments": alive("a", "b")}} {
		gc := a.gcCall()
		for k, v := range keys {
			gc = gc.with(k, v)
		}
		gc.succeed(t, "GC")
		if diff := cmp.Diff(all, a.ways(t)); diff != "" {
			t.Errorf("routes after GC with all alive (-want +got):\n%s", diff)
		}
	}
	a.gcCall().with("cni.dev/valid-attachments", alive("b")).succeed(t, "GC")
	b.after(result).succeed(t, "CHECK")
	reaches(t, a.host, "10.1.0.4")
	if diff := cmp.Diff([]string{"lo"}, links(t, first)); diff != "" {
		t.Errorf("links of a container that is not valid (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"10.1.0.4", "fd01::4"}, a.ways(t)); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	if got := len(a.reservations(t)); got != 4 {
		t.Errorf("%d reservations after GC, want two of the container and two of the host: %v", got, a.reservations(t))
	}
	a.add(t) // its namespace is usable again
	a.gcCall().with("cni.dev/valid-attachments", alive()).succeed(t, "GC")
	a.wantUnchanged(t, before)
}

// TestMacvlanGCOfPassthru: what a killed ADD left in a container holds the master, until GC.
func TestMacvlanGCOfPassthru(t *testing.T) {
	left := testnet.NewNS(t, "a")
	a, _ := macvlanOn(t, left)
	a = a.with("mode", "passthru")
	a.add(t)
	second := a.on(testnet.NewNS(t, "b"), "eth0")
	second.fail(t, "ADD", 7)
	a.gcCall().with("cni.dev/valid-attachments", alive()).succeed(t, "GC")
	second.add(t)
}

// TestMacvlanVLAN: the interface of a VLAN is made where the kernel can; what it lacks is named.
func TestMacvlanVLAN(t *testing.T) {
	a, _ := macvlanOn(t, testnet.NewNS(t, "c"))
	a = a.with("master", "lan0.10")
	before := a.traces(t)
	a.statusCall().succeed(t, "STATUS")
	if got := a.run(t, "ADD"); got.code != 0 {
		wantText(t, "sentence", "master lan0.10 is a VLAN interface to make (CONFIG_VLAN_8021Q), not supported by the running kernel: "+
			"name an interface that exists, or use a kernel that has it", wantError(t, got, 7, "1.1.0"))
	}
	a.succeed(t, "DEL")
	a.wantUnchanged(t, before)
	a = a.with("master", "lan9.10")
	const absent = "master lan9.10 does not exist in the host's namespace, and neither does lan9 to make it on: name an interface in key master"
	wantText(t, "sentence", absent, a.fail(t, "ADD", 7))
	wantText(t, "sentence", absent, a.statusCall().fail(t, "STATUS", 50))
	a.wantUnchanged(t, before)
}

// TestMacvlanVLANOfFairway has two users, and goes with the last. Only the group tells that fairway made it.
func TestMacvlanVLANOfFairway(t *testing.T) {
	a, _ := macvlanOn(t, testnet.NewNS(t, "a"))
	before := a.traces(t)
	a.host.Sh(t, "ip", "link", "add", "lan0.10", "group", "4002", "up", "type", "bridge")
	a = a.with("master", "lan0.10")
	b := a.on(testnet.NewNS(t, "b"), "eth0")
	a.after(a.add(t)).succeed(t, "CHECK")
	result := b.add(t)
	a.with("master", "lan0").succeed(t, "DEL")
	b.after(result).succeed(t, "CHECK")
	b.withEnv("CNI_NETNS", "").succeed(t, "DEL")
	a.wantUnchanged(t, before)
}
