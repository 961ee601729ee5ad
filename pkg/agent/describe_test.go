package agent

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fairway-cni/fairway/pkg/agentapi"
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
		Created: 7,
		Nodes: map[string]registry.Node{
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

func TestDescribe(t *testing.T) {
	got, faults := describe(blue(), "a", addr("192.0.2.11"))
	want := overlay.Hosts{
		Self: addr("192.0.2.11"),
		Peers: []overlay.Peer{
			{Node: "a", VTEP: addr("192.0.2.11"), Blocks: []netip.Prefix{prefix("10.42.0.0/26"), prefix("10.42.0.64/26")}},
			{Node: "b", VTEP: addr("192.0.2.12"), Blocks: []netip.Prefix{prefix("10.42.1.0/26")}},
			{Node: "c", VTEP: addr("192.0.2.13"), Blocks: []netip.Prefix{prefix("10.42.2.0/26"), prefix("10.42.3.0/26")}},
		},
		Pins: []overlay.Pin{{Address: addr("10.42.9.7"), VTEP: addr("192.0.2.11")}, {Address: addr("10.42.9.9"), VTEP: addr("192.0.2.12")}},
	}
	if diff := cmp.Diff(want, got.hosts, comparable); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
	if err := got.network().Check(got.hosts); err != nil {
		t.Errorf("what the plugin is told is refused by it: %v", err)
	}
	var left []string
	for _, f := range faults {
		left = append(left, f.Entry)
	}
	if diff := cmp.Diff([]string{"block 10.42.6.0/24 of host b", "host a-renamed", "host mute", "host six"}, left); diff != "" {
		t.Errorf("left out (-want +got):\n%s", diff)
	}
}

func TestSnapshotAtAnotherAddress(t *testing.T) {
	snap, _ := describe(blue(), "a", addr("192.0.2.11"))
	moved := snap.at(addr("192.0.2.12")) // which was b's
	want := overlay.Hosts{
		Self: addr("192.0.2.12"),
		Peers: []overlay.Peer{
			{Node: "a", VTEP: addr("192.0.2.12"), Blocks: []netip.Prefix{prefix("10.42.0.0/26"), prefix("10.42.0.64/26")}},
			{Node: "c", VTEP: addr("192.0.2.13"), Blocks: []netip.Prefix{prefix("10.42.2.0/26"), prefix("10.42.3.0/26")}},
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
	want, _ := describe(blue(), "a", addr("192.0.2.11"))
	if err := s.write(want); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(s.path("blue"))
	if err != nil {
		t.Fatal(err)
	}
	document, err := overlay.Decode(data)
	if err != nil || document.Network.VNI != 4096 || document.Self != addr("192.0.2.11") {
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
	all, err := s.load()
	if err != nil || len(all) != 1 || !all["blue"].equal(want) {
		t.Errorf("loaded %+v, %v; want %+v", all, err, want)
	}
	if info, err := os.Stat(s.path("blue")); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for range 2 {
		if err := s.remove("blue"); err != nil {
			t.Errorf("remove: %v", err)
		}
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
		addrs   []string
		present string
		want    string
	}{
		{"IPv4 first", []string{"2001:db8::1", "192.0.2.1"}, "", "192.0.2.1"},
		{"the present one stays", []string{"192.0.2.1", "192.0.2.2"}, "192.0.2.2", "192.0.2.2"},
		{"the present one has gone", []string{"192.0.2.1"}, "192.0.2.2", "192.0.2.1"},
		{"IPv6 alone", []string{"fe80::1", "2001:db8::1"}, "", "2001:db8::1"},
		{"of the link only", []string{"fe80::1", "169.254.0.1", "127.0.0.1"}, "", ""},
	} {
		var addrs []netip.Addr
		for _, a := range test.addrs {
			addrs = append(addrs, addr(a))
		}
		var present netip.Addr
		if test.present != "" {
			present = addr(test.present)
		}
		got, ok := choose(addrs, present)
		if ok != (test.want != "") || ok && got.String() != test.want {
			t.Errorf("%s: got %v %v, want %q", test.name, got, ok, test.want)
		}
	}
}

func TestConflists(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net.d")
	config := Defaults()
	config.NetconfDir = dir
	c := newConflists(config, store{"/var/lib/fairway/networks"})
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
	for _, again := range []conflists{c, newConflists(config, c.store)} {
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
	if made, err := newConflists(config, store{"/elsewhere"}).made(); err != nil || len(made) != 0 {
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
