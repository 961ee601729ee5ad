package agent

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/registry"
)

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

var comparable = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

// blue is a network of hosts a, b, c, and of some that cannot be peers.
func blue() *registry.Network {
	return &registry.Network{
		Definition: agentapi.Network{
			Name: "blue", VNI: 4096, Subnets: []agentapi.Subnet{{Prefix: prefix("10.42.0.0/16"), BlockLength: 26}},
			Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		},
		Name: "blue", Created: 7, Followed: true,
		Members: map[string]registry.Member{
			"a":         {VTEP: addr("192.0.2.11")},
			"b":         {VTEP: addr("192.0.2.12")},
			"c":         {VTEP: addr("192.0.2.13")},
			"c-renamed": {VTEP: addr("192.0.2.13")},
			"a-renamed": {VTEP: addr("192.0.2.11")},
			"six":       {VTEP: addr("2001:db8::1")},
			"mute":      {},
		},
		Blocks: map[netip.Prefix]string{
			prefix("10.42.0.64/26"): "a", prefix("10.42.0.0/26"): "a", prefix("10.42.1.0/26"): "b",
			prefix("10.42.2.0/26"): "c", prefix("10.42.3.0/26"): "c-renamed", prefix("10.42.4.0/26"): "a-renamed",
			prefix("10.42.5.0/26"): "unpublished", prefix("10.42.6.0/24"): "b",
		},
		Pins: map[netip.Addr]registry.Pin{addr("10.42.9.9"): {Node: "b"}, addr("10.42.9.8"): {Node: "unpublished"}, addr("10.42.9.7"): {Node: "a"}},
	}
}

// blueView is host a's.
func blueView() view { return view{node: "a", here: underlay{addr("192.0.2.11"), "eth0", 1500}} }

func TestDescribe(t *testing.T) {
	got, faults, stranded := blueView().describe(blue())
	want := overlay.Hosts{
		Self: addr("192.0.2.11"),
		Peers: []overlay.Peer{
			{Node: "a", VTEP: addr("192.0.2.11"), Blocks: []netip.Prefix{prefix("10.42.0.0/26"), prefix("10.42.0.64/26")}},
			{Node: "b", VTEP: addr("192.0.2.12"), Blocks: []netip.Prefix{prefix("10.42.1.0/26")}},
			{Node: "c", VTEP: addr("192.0.2.13"), Blocks: []netip.Prefix{prefix("10.42.2.0/26")}},
		},
		Pins: []overlay.Pin{{Address: addr("10.42.9.7"), VTEP: addr("192.0.2.11")}, {Address: addr("10.42.9.9"), VTEP: addr("192.0.2.12")}},
	}
	if diff := cmp.Diff(want, got.hosts, comparable); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
	if len(stranded) > 0 {
		t.Errorf("stranded %v", stranded)
	}
	if err := got.network().Check(got.hosts); err != nil {
		t.Errorf("what the plugin is told is refused by it: %v", err)
	}
	var left []string
	for _, f := range faults {
		left = append(left, f.Entry)
	}
	if diff := cmp.Diff([]string{"block 10.42.6.0/24 of host b", "host a-renamed", "host c-renamed", "host mute", "host six"}, left); diff != "" {
		t.Errorf("left out (-want +got):\n%s", diff)
	}
}

// While the store settles, a host whose membership is lost is still reached, whether its blocks are lost, too, or not.
func TestDescribeWhileTheStoreSettles(t *testing.T) {
	before, _, _ := blueView().describe(blue())
	for _, owner := range []string{"b", ""} {
		v, n := blueView(), blue()
		v.before = &before
		delete(n.Members, "b")
		if owner == "" {
			delete(n.Blocks, prefix("10.42.1.0/26"))
		}
		got, _, _ := v.describe(n)
		want := overlay.Peer{Node: "b", VTEP: addr("192.0.2.12"), Blocks: []netip.Prefix{prefix("10.42.1.0/26")}}
		i := slices.IndexFunc(got.hosts.Peers, func(p overlay.Peer) bool { return p.Node == "b" })
		if i < 0 {
			t.Errorf("block of %q: no way to b: %v", owner, got.hosts.Peers)
		} else if diff := cmp.Diff(want, got.hosts.Peers[i], comparable); diff != "" {
			t.Errorf("block of %q (-want +got):\n%s", owner, diff)
		}
	}
}

func TestSnapshotAtAnotherAddress(t *testing.T) {
	snap, _, _ := blueView().describe(blue())
	moved := snap.at(addr("192.0.2.12")) // which was b's
	want := overlay.Hosts{
		Self: addr("192.0.2.12"),
		Peers: []overlay.Peer{
			{Node: "a", VTEP: addr("192.0.2.12"), Blocks: []netip.Prefix{prefix("10.42.0.0/26"), prefix("10.42.0.64/26")}},
			{Node: "c", VTEP: addr("192.0.2.13"), Blocks: []netip.Prefix{prefix("10.42.2.0/26")}},
		},
		Pins: []overlay.Pin{{Address: addr("10.42.9.7"), VTEP: addr("192.0.2.12")}},
	}
	if diff := cmp.Diff(want, moved.hosts, comparable); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
	if got := snap.at(netip.Addr{}); !got.equal(snap) {
		t.Error("without an underlay, the snapshot has changed")
	}
	for _, vtep := range []string{"192.0.2.12", "192.0.2.99", "2001:db8::99"} {
		if got := snap.at(addr(vtep)); got.network().Check(got.hosts) != nil {
			t.Errorf("at %s: %v", vtep, got.network().Check(got.hosts))
		}
	}
}

func TestSnapshotsOnDisk(t *testing.T) {
	s, err := newStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	want, _, _ := blueView().describe(blue())
	if err := s.write(want, want.own().Blocks[:1]); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(s.path("blue"))
	if err != nil {
		t.Fatal(err)
	}
	document, err := overlay.Decode(data)
	if err != nil || document.Network.VNI != 4096 || document.Self != addr("192.0.2.11") || len(document.Peers) != 1 || document.Full != s.fullPath("blue") ||
		document.Confirmed != s.fencePath() || !slices.Equal(document.Withheld, []netip.Prefix{prefix("10.42.0.64/26")}) || !document.Partial {
		t.Errorf("as the plugin reads it: %+v, %v", document, err)
	}
	for name, content := range map[string]string{
		"cut":     string(data[:len(data)/2]),
		"empty":   "",
		"by-hand": `{"peers": []}`,
		"other":   string(data),
	} {
		if err := os.WriteFile(s.path(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(s.path("blue"), s.path("link")); err != nil {
		t.Fatal(err)
	}
	again, err := newStore(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	all, err := again.load()
	if err != nil || len(all) != 1 || !all["blue"].equal(want) {
		t.Errorf("loaded %+v, %v; want %+v", all, err, want)
	}
	for _, path := range []string{s.path("blue"), s.fullPath("blue")} {
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: mode %v, %v", path, info.Mode(), err)
		}
	}
	for range 2 {
		if err := s.remove("blue"); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
}

// What the release before wrote is one document with all hosts, this host's last.
func TestSnapshotOfTheFormerRelease(t *testing.T) {
	snap, err := decodeSnapshot([]byte(`{"network":{"name":"blue","vni":4096,"subnets":["10.42.0.0/16"]},"self":"192.0.2.11",` +
		`"peers":[{"node":"b","vtep":"192.0.2.12","subnets":["10.42.1.0/26"]},{"node":"a","vtep":"192.0.2.11","subnets":["10.42.0.0/26"]}],` +
		`"definition":{"name":"blue","subnets":[{"prefix":"10.42.0.0/16","blockLength":26}],"vni":4096,"created":"2026-01-02T03:04:05Z"},"created":7}`))
	if err != nil {
		t.Fatal(err)
	}
	if own := snap.own(); own.Node != "a" || len(own.Blocks) != 1 || snap.hosts.Peers[0].Node != "a" || len(snap.hosts.Peers) != 2 {
		t.Errorf("read as %+v", snap)
	}
}

// A document of many hosts costs an attachment nothing.
func TestTheDocumentOfThePluginIsSmall(t *testing.T) {
	n := blue()
	for i := range 1000 {
		node := fmt.Sprint("n", i)
		n.Members[node] = registry.Member{VTEP: netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})}
		n.Blocks[netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 42, byte(100 + i/64), byte(i % 4 * 64)}), 26)] = node
	}
	snap, _, _ := blueView().describe(n)
	small, err := snap.forPlugin(snap.own().Blocks, "/full", "/confirmed")
	if err != nil || len(small) > 1000 {
		t.Errorf("%d bytes, %v:\n%s", len(small), err, small)
	}
}

// Blocks without containers are given back, but for what is left free.
func TestSpareBlocks(t *testing.T) {
	subnet := agentapi.Subnet{Prefix: prefix("10.42.0.0/16"), BlockLength: 30} // room for 3
	own := []netip.Prefix{prefix("10.42.0.0/30"), prefix("10.42.0.4/30"), prefix("10.42.0.8/30")}
	for _, test := range []struct {
		reserved []netip.Addr
		want     []netip.Prefix
	}{
		{nil, []netip.Prefix{own[2], own[1]}},
		{[]netip.Addr{addr("10.42.0.5")}, []netip.Prefix{own[2], own[0]}},
		{[]netip.Addr{addr("10.42.0.5"), addr("10.42.0.6"), addr("10.42.0.7")}, []netip.Prefix{own[2]}},
		{[]netip.Addr{addr("10.42.0.1"), addr("10.42.0.5"), addr("10.42.0.9")}, nil},
	} {
		if got := spareBlocks(subnet, own, test.reserved); !slices.Equal(got, test.want) {
			t.Errorf("with %v: %v, want %v", test.reserved, got, test.want)
		}
	}
	if got := spareBlocks(subnet, own[:1], nil); got != nil {
		t.Errorf("of one block: %v", got)
	}
}

func TestNeedsBlock(t *testing.T) {
	v4 := agentapi.Subnet{Prefix: prefix("10.42.0.0/16"), BlockLength: 28} // room for 15
	v6 := agentapi.Subnet{Prefix: prefix("fd42::/64"), BlockLength: 80}
	tiny := agentapi.Subnet{Prefix: prefix("10.42.0.0/16"), BlockLength: 30} // room for 3
	reserved := func(first string, count int) []netip.Addr {
		var list []netip.Addr
		for a := addr(first).Next(); len(list) < count; a = a.Next() {
			list = append(list, a)
		}
		return list
	}
	for _, test := range []struct {
		name     string
		subnet   agentapi.Subnet
		own      []netip.Prefix
		reserved []netip.Addr
		want     bool
	}{
		{"none", v4, nil, nil, true},
		{"only of the other family", v4, []netip.Prefix{prefix("fd42::/80")}, nil, true},
		{"a fresh one", v4, []netip.Prefix{prefix("10.42.0.0/28")}, nil, false},
		{"four left", v4, []netip.Prefix{prefix("10.42.0.0/28")}, reserved("10.42.0.0", 11), false},
		{"three left", v4, []netip.Prefix{prefix("10.42.0.0/28")}, reserved("10.42.0.0", 12), true},
		{"others' addresses", v4, []netip.Prefix{prefix("10.42.0.0/28")}, reserved("10.42.9.0", 15), false},
		{"a second one", v4, []netip.Prefix{prefix("10.42.0.0/28"), prefix("10.42.1.0/28")}, reserved("10.42.0.0", 15), false},
		{"tiny with one left", tiny, []netip.Prefix{prefix("10.42.0.0/30")}, reserved("10.42.0.0", 2), false},
		{"tiny and full", tiny, []netip.Prefix{prefix("10.42.0.0/30")}, reserved("10.42.0.0", 3), true},
		{"IPv6", v6, []netip.Prefix{prefix("fd42::/80")}, reserved("fd42::", 1000), false},
	} {
		if got := needsBlock(test.subnet, test.own, test.reserved); got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

func TestChoose(t *testing.T) {
	for _, test := range []struct {
		name    string
		addrs   []string // those that begin with "~" are passing
		family  int
		present string
		want    string
	}{
		{"IPv4 first", []string{"2001:db8::1/64", "192.0.2.1/24"}, 0, "", "192.0.2.1"},
		{"the cluster's family", []string{"2001:db8::1/64", "192.0.2.1/24"}, 6, "", "2001:db8::1"},
		{"not of the cluster's family", []string{"2001:db8::1/64"}, 4, "2001:db8::1", ""},
		{"the present one stays", []string{"192.0.2.1/24", "192.0.2.2/24"}, 0, "192.0.2.2", "192.0.2.2"},
		{"the present one has gone", []string{"192.0.2.1/24"}, 0, "192.0.2.2", "192.0.2.1"},
		{"the present one is of another family", []string{"192.0.2.1/24", "2001:db8::1/64"}, 4, "2001:db8::1", "192.0.2.1"},
		{"IPv6 alone", []string{"fe80::1/64", "2001:db8::1/64"}, 0, "", "2001:db8::1"},
		{"temporary, deprecated, tentative", []string{"~2001:db8::9/64", "2001:db8::1/64"}, 0, "", "2001:db8::1"},
		{"a virtual address beside", []string{"192.0.2.100/32", "192.0.2.1/24"}, 0, "", "192.0.2.1"},
		{"of IPv6, the newest comes first", []string{"2001:db8::2/64", "2001:db8::1/64"}, 0, "", "2001:db8::1"},
		{"single addresses alone", []string{"192.0.2.7/32"}, 0, "", "192.0.2.7"},
		{"of the link only", []string{"fe80::1/64", "169.254.0.1/16", "127.0.0.1/8"}, 0, "", ""},
	} {
		var all []kernel.AddressEntry
		for _, text := range test.addrs {
			text, passing := strings.CutPrefix(text, "~")
			all = append(all, kernel.AddressEntry{Prefix: netip.MustParsePrefix(text), Passing: passing})
		}
		var present netip.Addr
		if test.present != "" {
			present = addr(test.present)
		}
		got, ok := choose(all, test.family, present)
		if ok != (test.want != "") || ok && got.String() != test.want {
			t.Errorf("%s: got %v %v, want %q", test.name, got, ok, test.want)
		}
	}
}

func TestConflists(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net.d")
	config := Defaults()
	config.NetconfDir = dir
	c := newConflists(config, store{dir: "/var/lib/fairway"})
	if err := c.remove("blue"); err != nil {
		t.Errorf("remove without a directory: %v", err)
	}
	n := blue().Definition
	if err := c.ensure(n); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "fairway-blue.conflist")
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, again := range []conflists{c, newConflists(config, store{dir: "/var/lib/fairway"})} {
		if err := again.ensure(n); err != nil {
			t.Errorf("again: %v", err)
		}
	}
	if after, err := os.Stat(file); err != nil || after.Size() != before.Size() {
		t.Errorf("the file has changed: %v", err)
	}
	hand := filepath.Join(dir, "10-hand.conflist")
	if err := os.WriteFile(hand, []byte(`{"cniVersion": "1.0.0", "name": "hand", "plugins": [{"type": "bridge"}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	want := map[string]agentapi.Network{"blue": {Name: "blue", VNI: 4096, Subnets: []agentapi.Subnet{{Prefix: prefix("10.42.0.0/16")}}}}
	made, err := c.made()
	if diff := cmp.Diff(want, made, comparable); err != nil || diff != "" {
		t.Errorf("networks in files of the agent: %v (-want +got):\n%s", err, diff)
	}
	if made, err := newConflists(config, store{dir: "/elsewhere"}).made(); err != nil || len(made) != 0 {
		t.Errorf("networks in files of another agent: %v, %v", made, err)
	}
	n.Name = "hand"
	if err := c.ensure(n); err == nil || !strings.Contains(err.Error(), hand) {
		t.Errorf("over a network made by hand: error %v, want one that names %s", err, hand)
	}
	for _, name := range []string{"hand", "blue", "blue"} {
		if err := c.remove(name); err != nil {
			t.Errorf("remove %s: %v", name, err)
		}
	}
	if !exists(hand) || exists(file) {
		t.Errorf("after removal: by hand %v, ours %v", exists(hand), exists(file))
	}
}

// A host that was renamed is known once, by the name that it has now.
func TestFormerNames(t *testing.T) {
	host := func(last byte) registry.Host {
		return registry.Host{VTEP: netip.AddrFrom4([4]byte{192, 0, 2, last}), Machine: "m"}
	}
	n := &registry.Network{Members: map[string]registry.Member{
		"new": {}, "old": {}, "twin": {}, "older": {VTEP: addr("192.0.2.1")}, "silent": {VTEP: addr("192.0.2.3")},
	}}
	state := registry.State{Cluster: registry.Cluster{ID: "x"}, Hosts: map[string]registry.Host{"new": host(1), "old": host(1), "twin": host(2)}}
	for _, node := range []string{"me", "new"} {
		if diff := cmp.Diff(map[string]bool{"old": true, "older": true}, view{state: state, node: node}.formerNames(n)); diff != "" {
			t.Errorf("former names, seen from %s (-want +got):\n%s", node, diff)
		}
	}
}
