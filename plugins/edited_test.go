package plugins

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// edit is a key that an administrator may edit while containers of the network run.
type edit struct {
	// values are all that it is edited to, from each to each other. A nil value is a key that is left out.
	values []any
	// beside are the keys without which it does nothing.
	beside map[string]any
	// stays is what an earlier value leaves to the next, with its reason: parts of the lines that show it.
	stays map[string]string
}

var onOff = []any{false, true}

// published are keys with which ports are published by the plugin.
var published = map[string]any{"capabilities": map[string]bool{"portMappings": true}}

// masqueradeChain is what an earlier masquerade leaves.
var masqueradeChain = map[string]string{
	`"name":"postrouting"`: "is of all networks, one of which may be about to use it", `"chain":"postrouting"`: "likewise",
}

// edits are the keys of bridge.
var edits = map[string]edit{
	"isGateway": {
		values: onOff, beside: map[string]any{"isDefaultGateway": nil},
		stays: map[string]string{
			"addr br0 10.1.0.1/24": "containers that run have it as their gateway", "addr br0 fd01::1/64": "containers that run have it as their gateway",
			"forwarding = ": "is the host's, and others may need it", "ip_forward = ": "is the host's, and others may need it",
		},
	},
	"isDefaultGateway": {values: onOff, beside: map[string]any{"isGateway": true}},
	"forceAddress":     {values: onOff},
	"ipMasq":           {values: onOff, stays: masqueradeChain},
	"ipMasqBackend":    {values: []any{"nftables", "iptables"}},
	"mtu": {
		values: []any{nil, 1400, 9000},
		stays: map[string]string{
			"link br0 mtu": "a bridge keeps its MTU: containers that run were told it", "ipv6/conf/br0/mtu": "follows from the bridge's",
		},
	},
	"hairpinMode": {values: onOff},
	"promiscMode": {values: onOff},
	"vlan": {values: []any{nil, 10, 20}, stays: map[string]string{
		"has besides addr br0 10.1.0.1/24": "containers that run in no VLAN have it as their gateway", "has besides addr br0 fd01::1/64": "likewise",
		"has besides element inet fairway bridges": "links to containers that run", "has besides element inet fairway within": "likewise",
		"link br0 linkinfo info_data vlan_filtering": "keeps containers that run in their VLANs",
	}},
	"vlanTrunk": {values: []any{nil, trunkOf(10), trunkOf(20, 21)}, stays: map[string]string{
		"link br0 linkinfo info_data vlan_filtering": "keeps containers that run in their VLANs",
	}},
	"preserveDefaultVlan":       {values: onOff, beside: map[string]any{"vlan": 10}},
	"macspoofchk":               {values: onOff},
	"enabledad":                 {values: onOff},
	"disableContainerInterface": {values: onOff, beside: map[string]any{"ipam": nil, "isDefaultGateway": nil, "ipMasq": nil}},
	"portIsolation":             {values: onOff},
	"internal":                  {values: onOff, stays: masqueradeChain},
	"acceptRA":                  {values: onOff},
	"icc":                       {values: []any{true, false}},
	"isolated":                  {values: onOff},
	"routed": {values: []any{false, true}, beside: published, stays: map[string]string{
		"inet fairway_ports inside": "containers that run are reached by their ports alone",
	}},
	"capabilities": {values: []any{published["capabilities"], nil}, stays: map[string]string{
		"inet fairway_ports inside": "ports of containers that run are published", `"table":"fairway_ports"`: "likewise",
		"br0/route_localnet = ": "likewise, to the host's loopback too",
	}},
	"hostIP":      {values: []any{nil, "127.0.0.1"}, beside: published},
	"publishFrom": {values: []any{nil, []string{"192.0.2.0/24", "2001:db8::/32"}}, beside: published},
}

// notEdits are the keys of bridge that turn nothing on.
var notEdits = map[string]string{
	"bridge": "another name is another bridge",
	"ipam":   "is the IPAM plugin's",
}

func trunkOf(vlans ...int) (list []map[string]int) {
	for _, vlan := range vlans {
		list = append(list, map[string]int{"id": vlan})
	}
	return list
}

// TestEveryKeyIsEdited: a key that is new needs a line in one of the two tables.
func TestEveryKeyIsEdited(t *testing.T) {
	keys := append(keysOf(t, "bridge/conf.go", "conf"), keysOf(t, "../pkg/attach/publishing.go", "Publishing")...)
	for _, key := range keys {
		_, edited := edits[key]
		if _, not := notEdits[key]; edited == not {
			t.Errorf("key %s of bridge: give it a line in edits, or in notEdits with the reason", key)
		}
	}
	for _, key := range append(slices.Collect(maps.Keys(edits)), slices.Collect(maps.Keys(notEdits))...) {
		if !slices.Contains(keys, key) {
			t.Errorf("bridge has no key %s", key)
		}
	}
}

// keysOf are the keys of a structure in a file.
func keysOf(t *testing.T, file, structure string) (keys []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != structure {
			return true
		}
		for _, field := range spec.Type.(*ast.StructType).Fields.List {
			if field.Tag != nil {
				keys = append(keys, reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("json"))
			}
		}
		return false
	})
	if len(keys) == 0 {
		t.Fatalf("%s: no keys of %s", file, structure)
	}
	return keys
}

// TestEdited: of a network that is edited while its containers run, the next container finds what it would find on a
// host that never knew another value. What a key turns on, it turns off again.
func TestEdited(t *testing.T) {
	for _, key := range slices.Sorted(maps.Keys(edits)) {
		t.Run(key, func(t *testing.T) {
			e := edits[key]
			if strings.Contains(strings.ToLower(key), "vlan") && !kernelFiltersVLANs(t) {
				e.wantRefused(t, key)
				return
			}
			stayed := make(map[string]bool)
			for a, one := range e.values {
				for b, other := range e.values[a+1:] {
					e.there(t, fmt.Sprint(a, "and", a+1+b), key, one, other, stayed)
				}
			}
			for part := range e.stays {
				if !stayed[part] {
					t.Errorf("%q does not stay: take it from the table", part)
				}
			}
		})
	}
}

// there edits a network from one value to another and back.
func (e edit) there(t *testing.T, name, key string, one, other any, stayed map[string]bool) {
	t.Helper()
	edited := newEditedHost(t, name, e.beside)
	edited.with(key, one).attached(t, name, 1)
	for n, value := range []any{2: other, 3: one} {
		if n < 2 {
			continue
		}
		got := edited.with(key, value).attached(t, name, n)
		afresh := fmt.Sprint(name, "afresh", n)
		want := newEditedHost(t, afresh, e.beside).with(key, value).attached(t, afresh, n)
		for _, difference := range differences(want, got) {
			expected := false
			for part := range e.stays {
				if strings.Contains(difference, part) {
					expected, stayed[part] = true, true
				}
			}
			if !expected {
				t.Errorf("between %s and %s, now %s: %s", shown(one), shown(other), shown(value), difference)
			}
		}
	}
}

// wantRefused expects that whoever wants the key is told that the kernel cannot.
func (e edit) wantRefused(t *testing.T, key string) {
	t.Helper()
	a := newEditedHost(t, "refuses", e.beside).with(key, e.values[len(e.values)-1]).on(testnet.NewNS(t, "refuses-c1"), "eth0")
	if sentence := a.fail(t, "ADD", 7); !strings.Contains(sentence, "CONFIG_BRIDGE_VLAN_FILTERING") {
		t.Errorf("sentence: %s", sentence)
	}
}

func shown(value any) string {
	text, _ := json.Marshal(value)
	return string(text)
}

func kernelFiltersVLANs(t *testing.T) bool {
	t.Helper()
	return testnet.NewNS(t, "vlans").Command("ip", "link", "add", "probe", "type", "bridge", "vlan_filtering", "1").Run() == nil
}

// newEditedHost is a network of both families, without a container, on a host of its own with an uplink.
func newEditedHost(t *testing.T, name string, beside map[string]any) attachment {
	t.Helper()
	a := attachment{
		host: testnet.NewNS(t, name+"-host"), plugin: "bridge", env: map[string]string{"CNI_PATH": binDir},
		conf: map[string]any{
			"cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0", "isDefaultGateway": true, "ipMasq": true,
			"ipam": hostLocal(t.TempDir(), "10.1.0.0/24", "fd01::/64"),
		},
	}
	a.host.Sh(t, "sh", "-c", "sysctl -qw net.ipv4.ip_forward=0 && ip link set lo up && "+ // a machine hands on whether it forwards
		"ip link add up0 address 02:00:00:00:00:0a up type bridge && ip addr add 192.0.2.1/24 dev up0")
	for key, value := range beside {
		a = a.with(key, value)
	}
	return a
}

// attached attaches the n-th container, with the same name and addresses on each host, and gives back the kernel's state
// of what containers share and of the container's own ends, a line for each fact.
func (a attachment) attached(t *testing.T, name string, n int) []string {
	t.Helper()
	id := fmt.Sprintf("c%d", n)
	container := testnet.NewNS(t, name+"-"+id)
	a = a.on(container, "eth0").with("runtimeConfig", map[string]any{
		"portMappings": []any{mapping(8080+n, 80)},
	})
	if a.conf["ipam"] != nil {
		a = a.withEnv("CNI_ARGS", fmt.Sprintf("IgnoreUnknown=1;IP=10.1.0.%d", 10+n))
		a.conf["runtimeConfig"].(map[string]any)["ips"] = []string{fmt.Sprintf("fd01::%d", 10+n)}
	}
	result := a.add(t)
	lines := ruleFacts(t, a.host, "fairway net "+id+" eth0")
	lines = append(lines, linkFacts(t, a.host, "br0")...)
	lines = append(lines, linkFacts(t, container, "eth0")...)
	for _, i := range hostLinks(result) {
		lines = append(lines, linkFacts(t, a.host, i)...)
	}
	for _, in := range []*testnet.Namespace{a.host, container} {
		for _, family := range []string{"-4", "-6"} {
			for line := range strings.Lines(in.Sh(t, "ip", family, "route", "show", "proto", "static")) {
				lines = append(lines, "route "+strings.TrimSpace(line))
			}
		}
	}
	lines = append(lines, sysctlFacts(t, a.host, append(hostLinks(result), "br0")...)...)
	lines = append(lines, sysctlFacts(t, container, "eth0")...)
	slices.Sort(lines)
	return lines
}

// hostLinks are the host's ends of a container's links.
func hostLinks(result *types100.Result) (names []string) {
	for _, i := range result.Interfaces {
		if i.Sandbox == "" && i.Name != "br0" {
			names = append(names, i.Name)
		}
	}
	return names
}

// linkFacts is what ip says of a link, but for numbers, timers, and what follows from the number of ports.
func linkFacts(t *testing.T, n *testnet.Namespace, link string) (lines []string) {
	t.Helper()
	var list []map[string]any
	decodeShown(t, n, &list, "addr", "show", "dev", link)
	for _, key := range []string{
		"ifindex", "link", "link_index", "link_netnsid", "operstate", "promiscuity", "allmulti", "id", "no", "designated_port", "designated_cost",
		"root_path_cost", "root_port", "root_id", "topology_change", "topology_change_detected", "message_age_timer", "forward_delay_timer", "hold_timer", "hello_timer", "tcn_timer",
		"topology_change_timer", "gc_timer", "state",
	} {
		strip(list, key)
	}
	for _, addr := range list[0]["addr_info"].([]any) {
		if addr := addr.(map[string]any); addr["scope"] == "global" {
			lines = append(lines, fmt.Sprintf("addr %s %v/%v %s", link, addr["local"], addr["prefixlen"], shown(addr)))
		}
	}
	delete(list[0], "addr_info")
	if link != "eth0" && link != "br0" {
		delete(list[0], "address") // the kernel's own choice
	}
	if flags, ok := list[0]["flags"].([]any); ok {
		list[0]["flags"] = slices.DeleteFunc(flags, func(f any) bool { return f == "NO-CARRIER" || f == "LOWER_UP" })
	}
	return append(lines, flat("link "+link, list[0])...)
}

// strip removes a key wherever it is.
func strip(in any, key string) {
	switch in := in.(type) {
	case []map[string]any:
		for _, each := range in {
			strip(each, key)
		}
	case []any:
		for _, each := range in {
			strip(each, key)
		}
	case map[string]any:
		delete(in, key)
		for _, each := range in {
			strip(each, key)
		}
	}
}

// flat is a line for each value of an object.
func flat(prefix string, object map[string]any) (lines []string) {
	for key, value := range object {
		if inner, ok := value.(map[string]any); ok {
			lines = append(lines, flat(prefix+" "+key, inner)...)
			continue
		}
		lines = append(lines, fmt.Sprintf("%s %s = %s", prefix, key, shown(value)))
	}
	return lines
}

// sysctlFacts are all settings of links, and those of the namespace by which it forwards.
func sysctlFacts(t *testing.T, n *testnet.Namespace, links ...string) (lines []string) {
	t.Helper()
	const root = "/proc/sys/net"
	roots := []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv6/conf/up0/accept_ra"}
	for _, link := range links {
		roots = append(roots, "ipv4/conf/"+link, "ipv6/conf/"+link)
	}
	err := n.Do(func() error {
		for _, from := range roots {
			_ = filepath.WalkDir(filepath.Join(root, from), func(path string, entry fs.DirEntry, err error) error {
				if err != nil || entry.IsDir() {
					return err
				}
				if value, err := os.ReadFile(path); err == nil { // a secret cannot be read
					lines = append(lines, "sysctl "+strings.TrimPrefix(path, root+"/")+" = "+strings.TrimSpace(string(value)))
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// ruleFacts is the ruleset without what belongs to other containers than the tag's, and without what then has no effect:
// tables without an element, and chains of subnets and of sources to which no element leads.
func ruleFacts(t *testing.T, n *testnet.Namespace, tag string) (lines []string) {
	t.Helper()
	var document struct{ Nftables []map[string]map[string]any }
	if err := json.Unmarshal([]byte(n.Sh(t, "nft", "-j", "list", "ruleset")), &document); err != nil {
		t.Fatal(err)
	}
	elements := make(map[string][]string) // by table
	for _, object := range document.Nftables {
		for _, kind := range []string{"set", "map"} {
			set := object[kind]
			if set == nil {
				continue
			}
			table := fmt.Sprint(set["family"], " ", set["table"])
			list, _ := set["elem"].([]any)
			for _, element := range list {
				text := shown(element)
				if strings.Contains(text, `"fairway net `) && !strings.Contains(text, `"`+tag+`"`) {
					continue
				}
				elements[table] = append(elements[table], fmt.Sprintf("element %s %s %s", table, set["name"], text))
			}
			delete(set, "elem")
		}
	}
	for _, object := range document.Nftables {
		for kind, o := range object {
			delete(o, "handle")
			table := fmt.Sprint(o["family"], " ", o["table"])
			chain, _ := o["chain"].(string)
			if kind == "chain" {
				chain, _ = o["name"].(string)
			}
			leads := func(element string) bool { return strings.Contains(element, `"`+chain+`"`) }
			jumped := strings.HasPrefix(chain, "subnet_") || strings.HasPrefix(chain, "from_") // to, by elements alone
			if len(elements[table]) > 0 && (!jumped || slices.ContainsFunc(elements[table], leads)) {
				lines = append(lines, kind+" "+shown(o))
			}
		}
	}
	for _, list := range elements {
		lines = append(lines, list...)
	}
	return lines
}

// differences are the lines that one of two has and the other has not.
func differences(want, got []string) (lines []string) {
	for _, line := range want {
		if !slices.Contains(got, line) {
			lines = append(lines, "lacks "+line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			lines = append(lines, "has besides "+line)
		}
	}
	return lines
}
