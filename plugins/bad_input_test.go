package plugins

import (
	"os"
	"path/filepath"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestBadInput: each has one error with a code and a sentence that names what to change, and leaves nothing behind.
func TestBadInput(t *testing.T) {
	ranges := func(sets ...[]map[string]string) func(*testing.T, attachment) attachment {
		return func(_ *testing.T, a attachment) attachment { return a.withIPAM("ranges", sets) }
	}
	env := func(name, value string) func(*testing.T, attachment) attachment {
		return func(_ *testing.T, a attachment) attachment { return a.withEnv(name, value) }
	}
	key := func(name string, value any) func(*testing.T, attachment) attachment {
		return func(_ *testing.T, a attachment) attachment { return a.with(name, value) }
	}
	const name = `use letters, digits, '_', '.' and '-', beginning with a letter or digit`
	for _, tt := range []struct {
		name   string
		change func(*testing.T, attachment) attachment
		code   uint
		want   string
	}{
		{"a file of proc for a namespace", env("CNI_NETNS", "/proc/self/status"), 8,
			"CNI_NETNS /proc/self/status: not a network namespace: give the path of a network namespace, such as /run/netns/NAME"},
		{"a namespace of another kind", env("CNI_NETNS", "/proc/self/ns/uts"), 8,
			"CNI_NETNS /proc/self/ns/uts: not a network namespace: give the path of a network namespace, such as /run/netns/NAME"},
		{"VLAN without the kernel's filter", key("vlan", 5), 7, "keys vlan and vlanTrunk need bridge VLAN filtering " +
			"(CONFIG_BRIDGE_VLAN_FILTERING), not supported by the running kernel: remove them, or use a kernel that has it"},
		{"wrong type", key("mtu", "1500"), 6, "key mtu is a JSON string: give a whole number"},
		{"wrong type in ipam", key("ipam", map[string]any{"type": "host-local", "ranges": "10.1.0.0/24"}), 6,
			"key ipam.ranges is a JSON string: give a list"},
		{"long bridge name", key("bridge", "br0123456789abcd"), 7, `key bridge "br0123456789abcd" has 16 bytes: shorten it to at most 15`},
		{"bridge name with a slash", key("bridge", "a/b"), 7, `key bridge "a/b" holds '/', ':', '%' or white space: choose another name`},
		{"bridge name that the kernel changes", key("bridge", "br%d"), 7,
			`key bridge "br%d" holds '/', ':', '%' or white space: choose another name`},
		{"bridge name of the loopback", key("bridge", "lo"), 7,
			"link lo is a device, in conflict with the configuration: name a bridge in key bridge, or a link that does not exist yet"},
		{"container ID is a path", env("CNI_CONTAINERID", "../../c"), 4, `CNI_CONTAINERID "../../c": ` + name},
		{"network name is a path", key("name", "../net"), 7, `name "../net": ` + name},
		{"no namespace", env("CNI_NETNS", "/run/netns/none"), 8,
			"CNI_NETNS /run/netns/none: network namespace does not exist: give the path of a network namespace, such as /run/netns/NAME"},
		{"a file for a namespace", env("CNI_NETNS", "/etc/passwd"), 8,
			"CNI_NETNS /etc/passwd: not a network namespace: give the path of a network namespace, such as /run/netns/NAME"},
		{"a path through a file for a namespace", env("CNI_NETNS", "/etc/passwd/ns"), 8,
			"CNI_NETNS /etc/passwd/ns: network namespace does not exist: not a directory: " +
				"give the path of a network namespace, such as /run/netns/NAME"},
		{"wrong type of dns", key("dns", "192.0.2.53"), 6, "key dns is a JSON string: give an object"},
		{"wrong type within dns", key("dns", map[string]any{"nameservers": "192.0.2.53"}), 6, "key dns.nameservers is a JSON string: give a list"},
		{"interface that exists", env("CNI_IFNAME", "lo"), 4,
			"interface lo exists already in the container: ask for another name in CNI_IFNAME, or remove that one"},
		{"address outside every range", env("CNI_ARGS", "IP=10.2.0.9"), 7,
			"the requested address 10.2.0.9 lies outside every range (10.1.0.1-10.1.0.254): request one of a range, or widen a range"},
		{"overlapping ranges", ranges([]map[string]string{{"subnet": "10.1.0.0/24"}}, []map[string]string{{"subnet": "10.1.0.0/16"}}), 7,
			"ipam.ranges[1][0].subnet 10.1.0.0/16 (10.1.0.1-10.1.255.254) overlaps ipam.ranges[0][0].subnet 10.1.0.0/24 (10.1.0.1-10.1.0.254): " +
				"give each range addresses of its own"},
		{"range outside its subnet", ranges([]map[string]string{{"subnet": "10.1.0.0/24", "rangeStart": "10.2.0.1"}}), 7,
			"ipam.ranges[0][0].rangeStart 10.2.0.1 lies outside its subnet 10.1.0.0/24: choose an address of the subnet, or leave it out"},
		{"unknown IPAM type", key("ipam", map[string]any{"type": "magic"}), 7,
			`ipam.type "magic": no such plugin in CNI_PATH (` + binDir + `): install it there or choose another, such as host-local`},
		{"IPAM type is a path", key("ipam", map[string]any{"type": "../magic"}), 7,
			`ipam.type "../magic": no such plugin in CNI_PATH (` + binDir + `): install it there or choose another, such as host-local`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := tt.change(t, bridgeOn(t, testnet.NewNS(t, "c")))
			before := a.traces(t)
			wantText(t, "sentence", tt.want, a.fail(t, "ADD", tt.code))
			a.wantUnchanged(t, before)
		})
	}
}

// TestUndecodable: without a configuration the error is in the version that the specification takes then.
func TestUndecodable(t *testing.T) {
	for _, plugin := range append([]string{"bridge", "host", "macvlan", "none", "host-local"}, chained...) {
		t.Run(plugin, func(t *testing.T) {
			a := bridgeOn(t, testnet.NewNS(t, "c"))
			a.plugin = plugin
			before := a.traces(t)
			for _, stdin := range []string{"", "{", `{"cniVersion": "1.0.0"`, `[]`, "\x00"} {
				wantError(t, a.runWith(t, "ADD", stdin), 6, "0.1.0")
			}
			a.wantUnchanged(t, before)
		})
	}
}

// TestHostNamespace: a path to the host's own namespace is refused before anything is done, in one document.
func TestHostNamespace(t *testing.T) {
	for _, plugin := range []string{"bridge", "macvlan", "none"} {
		t.Run(plugin, func(t *testing.T) {
			a := bridgeOn(t, testnet.NewNS(t, "c"))
			if a.plugin = plugin; plugin == "none" {
				a = a.with("ipam", nil)
			}
			a = a.withEnv("CNI_NETNS", a.host.Path)
			before := a.traces(t)
			want := "CNI_NETNS " + a.host.Path + " is the host's own network namespace: give the container's"
			for _, verb := range []string{"ADD", "CHECK"} {
				wantText(t, "sentence", want, a.after(&types100.Result{CNIVersion: "1.1.0"}).fail(t, verb, 8))
			}
			a.wantUnchanged(t, before)
		})
	}
}

// TestExhaustedRange is something to try again later.
func TestExhaustedRange(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c")).withIPAM("ranges", [][]map[string]string{{{"subnet": "10.1.0.0/30"}}})
	a.add(t)
	b := a.on(testnet.NewNS(t, "d"), "eth0")
	before := b.traces(t)
	wantText(t, "sentence", "range set 0 (10.1.0.1-10.1.0.2) has no free address, all 1 are reserved: "+
		"let GC release those of containers that are gone, or configure a larger range", b.fail(t, "ADD", 11))
	b.wantUnchanged(t, before)
}

// TestReadOnlyDataDir is a read-only mount, which root cannot write to either.
func TestReadOnlyDataDir(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c"))
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mountReadOnly(t, dir)
	a = a.withIPAM("dataDir", dir)
	before := a.traces(t)
	want := "ipam.dataDir " + dir + " is not usable, name a directory that can be written: mkdir " + dir + "/net: read-only file system"
	wantText(t, "sentence", want, a.fail(t, "ADD", 5))
	a.wantUnchanged(t, before)
	a.statusCall().fail(t, "STATUS", 50)
	a.plugin = "host-local"
	wantText(t, "sentence", want, a.fail(t, "ADD", 5))
	a.succeed(t, "DEL")
}
