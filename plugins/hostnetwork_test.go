package plugins

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// hostNetwork is an attachment to the network of a host with an uplink, on which a container of the bridge lives already.
func hostNetwork(t *testing.T) attachment {
	t.Helper()
	a := bridgeOn(t, testnet.NewNS(t, "c"))
	a.host.Sh(t, "ip", "link", "set", "lo", "up")
	// No link-local addresses, which come by themselves some time after a link.
	a.host.Sh(t, "sysctl", "-q", "-w", "net.ipv6.conf.default.addr_gen_mode=1")
	a.host.Sh(t, "ip", "link", "add", "eth0", "address", "02:00:00:00:00:0e", "type", "veth", "peer", "name", "outside")
	a.host.Sh(t, "ip", "link", "set", "outside", "up")
	a.host.Sh(t, "ip", "link", "set", "eth0", "up", "mtu", "1400")
	a.host.Sh(t, "ip", "addr", "add", "198.51.100.9/24", "dev", "eth0")
	a.host.Sh(t, "ip", "addr", "add", "192.0.2.2/24", "dev", "eth0")
	a.host.Sh(t, "ip", "addr", "add", "2001:db8:ff::2/64", "dev", "eth0", "nodad")
	a.host.Sh(t, "ip", "route", "add", "default", "via", "192.0.2.1")
	a.host.Sh(t, "ip", "route", "add", "default", "via", "fe80::1", "dev", "eth0")
	a.add(t)

	a.plugin = "host"
	a.conf = map[string]any{"cniVersion": "1.1.0", "name": a.conf["name"], "type": "host"}
	return a.withEnv("CNI_NETNS", a.host.Path).withEnv("CNI_CONTAINERID", "h")
}

func TestHostReportsTheHost(t *testing.T) {
	a := hostNetwork(t)
	got := a.add(t)
	var found []string
	for _, ip := range got.IPs {
		found = append(found, got.Interfaces[*ip.Interface].Name+" "+ip.Address.String()+" "+ip.Gateway.String())
	}
	want := []string{
		"eth0 192.0.2.2/24 192.0.2.1", "eth0 2001:db8:ff::2/64 fe80::1", // by which the host goes to the outside
		"eth0 198.51.100.9/24 <nil>", "br0 10.1.0.1/24 <nil>",
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	names := map[string]bool{}
	for _, i := range got.Interfaces {
		names[i.Name] = true
	}
	for _, name := range links(t, a.host) {
		if !names[name] {
			t.Errorf("the result lacks interface %s", name)
		}
	}
	if diff := cmp.Diff(&types100.Interface{Name: "eth0", Mac: "02:00:00:00:00:0e", Mtu: 1400}, interfaceOf(t, got, "eth0")); diff != "" {
		t.Errorf("eth0 (-want +got):\n%s", diff)
	}
	a.after(got).succeed(t, "CHECK")
}

// TestHostPassesResultThrough: a plugin before it knows better what the container has.
func TestHostPassesResultThrough(t *testing.T) {
	prev := &types100.Result{CNIVersion: "1.1.0", IPs: []*types100.IPConfig{ipOf(t, "10.1.0.2/24", "10.1.0.1")}}
	prev.IPs[0].Interface = nil
	if diff := cmp.Diff(prev, hostNetwork(t).after(prev).add(t)); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}

// TestHostChangesNothing in any verb, be it called rightly or wrongly. GC is told that nobody of the network is alive, and
// the bridge has a container on a network of that name.
func TestHostChangesNothing(t *testing.T) {
	a := hostNetwork(t)
	other := testnet.NewNS(t, "other")
	before, beforeOther := settled(t, a.host), settled(t, other)
	unchanged := func(verb string) {
		t.Helper()
		for _, n := range []struct {
			ns     *testnet.Namespace
			before map[string]string
		}{{a.host, before}, {other, beforeOther}} {
			if diff := cmp.Diff(n.before, snapshot(t, n.ns)); diff != "" {
				t.Errorf("%s changed %s (-before +after):\n%s", verb, n.ns.Path, diff)
			}
		}
	}
	result := a.add(t)
	unchanged("ADD")
	a.after(result).succeed(t, "CHECK")
	unchanged("CHECK")
	for _, path := range []string{a.host.Path, other.Path, "/run/netns/none", ""} {
		a.after(result).withEnv("CNI_NETNS", path).succeed(t, "DEL")
		unchanged("DEL of " + path)
	}
	a.with("ipam", map[string]any{"type": "host-local"}).succeed(t, "DEL")
	unchanged("DEL with addresses")
	a.gcCall().succeed(t, "GC")
	a.gcCall().with("cni.dev/valid-attachments", alive()).succeed(t, "GC")
	unchanged("GC")
	a.statusCall().succeed(t, "STATUS")
	unchanged("STATUS")
	wantVersion(t, a.run(t, "VERSION"), "1.1.0")
	unchanged("VERSION")
	a = a.withEnv("CNI_NETNS", other.Path)
	a.fail(t, "ADD", 8)
	unchanged("ADD of another namespace")
	a.after(result).fail(t, "CHECK", 8)
	unchanged("CHECK of another namespace")
}

// TestHostRefuses tells what to ask the runtime for.
func TestHostRefuses(t *testing.T) {
	a := hostNetwork(t)
	container := a.on(testnet.NewNS(t, "other"), "eth0")
	const ask = "ask the runtime for host networking (nerdctl run --net host, ctr run --net-host, hostNetwork: true for a pod)"
	const give = "give the path of a network namespace, such as /run/netns/NAME"
	const ipam = "key ipam is set: the container has the host's addresses and needs none of its own, remove key ipam"
	for _, tt := range []struct {
		name string
		a    attachment
		verb string
		code uint
		want string
	}{
		{"a container's namespace", container, "ADD", 8,
			"CNI_NETNS " + container.env["CNI_NETNS"] + " is not the host's own network namespace, which this network shares: " + ask},
		{"no namespace", a.withEnv("CNI_NETNS", "/run/netns/none"), "ADD", 8,
			"CNI_NETNS /run/netns/none: network namespace does not exist: " + give},
		{"a file", a.withEnv("CNI_NETNS", "/etc/passwd"), "ADD", 8, "CNI_NETNS /etc/passwd: not a network namespace: " + give},
		{"a namespace of another kind", a.withEnv("CNI_NETNS", "/proc/self/ns/uts"), "ADD", 8,
			"CNI_NETNS /proc/self/ns/uts: not a network namespace: " + give},
		{"host-local", a.with("ipam", map[string]any{"type": "host-local"}), "ADD", 7, ipam},
		{"an empty ipam", a.with("ipam", map[string]any{}), "ADD", 7, ipam},
		{"an ipam at STATUS", a.statusCall().with("ipam", map[string]any{}), "STATUS", 7, ipam},
		{"CHECK without a result", a, "CHECK", 7, "prevResult is missing: pass on the result of ADD, which CHECK compares with"},
	} {
		t.Run(tt.name, func(t *testing.T) { wantText(t, "sentence", tt.want, tt.a.fail(t, tt.verb, tt.code)) })
	}
}

// snapshot is all that a plugin could change in a namespace: what ip and nft show, and each sysctl. Neighbours that the kernel finds are left
// out.
func snapshot(t *testing.T, n *testnet.Namespace) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, command := range []string{
		"ip link", "ip addr", "ip -details route show table all", "ip -details -6 route show table all",
		"ip rule", "ip -6 rule", "ip neigh show nud permanent", "nft list ruleset", "tc qdisc", "tc filter",
	} {
		words := strings.Fields(command)
		found[command] = n.Sh(t, words[0], words[1:]...)
	}
	if err := n.Do(func() error { return readSysctls(found) }); err != nil {
		t.Fatal(err)
	}
	return found
}

// settled is a snapshot of a namespace in which the kernel has ended what it does by itself after a change.
func settled(t *testing.T, n *testnet.Namespace) map[string]string {
	t.Helper()
	before := snapshot(t, n)
	for range 100 {
		time.Sleep(100 * time.Millisecond)
		after := snapshot(t, n)
		if maps.Equal(before, after) && !strings.Contains(after["ip addr"], "tentative") {
			return after
		}
		before = after
	}
	t.Fatalf("%s changes by itself", n.Path)
	return nil
}

// readSysctls reads those of the thread's namespace. One counts connections, which come and go by themselves.
func readSysctls(into map[string]string) error {
	return filepath.WalkDir("/proc/sys/net", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, "/nf_conntrack_count") {
			return err
		}
		value, _ := os.ReadFile(path) // some can only be written
		into[path] = string(value)
		return nil
	})
}

// TestSnapshotSeesChanges, or the test above would prove nothing.
func TestSnapshotSeesChanges(t *testing.T) {
	n := testnet.NewNS(t, "n")
	for _, command := range []string{
		"ip link set lo up", "ip addr add 10.0.0.1/8 dev lo", "ip route add 192.0.2.0/24 dev lo", "ip rule add from 10.0.0.1 table 7",
		"nft add table inet x", "tc qdisc add dev lo root pfifo limit 7", "sysctl -q -w net.ipv4.ip_forward=1", "sysctl -q -w net.ipv6.conf.lo.accept_ra=0",
	} {
		before := snapshot(t, n)
		words := strings.Fields(command)
		n.Sh(t, words[0], words[1:]...)
		if maps.Equal(before, snapshot(t, n)) {
			t.Errorf("no change seen after %s", command)
		}
	}
}
