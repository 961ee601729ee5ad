package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd"
	"github.com/fairway-cni/fairway/pkg/names"
)

// named is a record of a container in network blue.
func named(name string, addrs ...string) names.Record {
	r := names.Record{Version: names.Version, Owner: names.Owner{Network: "blue", ContainerID: name + "-0123456789abcdef", IfName: "eth0"}, Names: []string{name}}
	for _, text := range addrs {
		r.Addresses = append(r.Addresses, addr(text))
	}
	return r
}

func formatted(t *testing.T, r names.Record) string {
	t.Helper()
	text, err := FormatName(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// called is the addresses of each name in a state, as far as their hosts may speak for them.
func called(n *Network) map[string][]netip.Addr {
	all := make(map[string][]netip.Addr)
	for _, name := range namesIn(n) {
		all[name.Record.Names[0]] = append(all[name.Record.Names[0]], n.Addresses(name)...)
	}
	return all
}

func TestPublishNames(t *testing.T) {
	sim, c := newStore(t)
	alive(t, sim, "a", "b")
	r := follow(t, c, Memory{}, "blue")
	n := create(t, c, network("blue", "10.42.0.0/16", 26))
	sim.Put(blockKey("blue", prefix("10.42.0.0/26")), "a")
	lease, err := c.store.Grant(t.Context(), 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	const many = 50*namesAtOnce + 7
	changes := make(map[string]string)
	for i := range many {
		changes[fmt.Sprint(i)] = formatted(t, named(fmt.Sprint("web", i), "10.42.0.5"))
	}
	if err := c.PublishNames(t.Context(), n, "a", "a", lease, changes); err != nil {
		t.Fatal(err)
	}
	s := r.await(t, "all names", func(s State) bool { return len(namesIn(s.Networks["blue"])) == many })
	if diff := cmp.Diff(changes, s.Networks["blue"].NamesOf("a")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := c.PublishNames(t.Context(), n, "a", "a", lease, map[string]string{"0": ""}); err != nil {
		t.Fatal(err)
	}
	r.await(t, "the end of one", func(s State) bool { return len(namesIn(s.Networks["blue"])) == many-1 })

	// Who may not.
	other := map[string]string{"0": changes["1"]}
	if err := c.PublishNames(t.Context(), n, "a", "another boot", lease, other); !errors.Is(err, ErrNodeTaken) {
		t.Errorf("another machine of the name: %v", err)
	}
	if err := c.PublishNames(t.Context(), n, "a", "a", lease+1, other); !errors.Is(err, etcd.ErrLeaseLost) {
		t.Errorf("another lease: %v", err)
	}
	gone := *n
	gone.Created--
	if err := c.PublishNames(t.Context(), &gone, "a", "a", lease, other); !errors.Is(err, agentapi.ErrNotFound) {
		t.Errorf("another network of the name: %v", err)
	}

	// They go with the lease, and with the membership.
	if err := c.store.Revoke(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	r.await(t, "no names", func(s State) bool { return len(namesIn(s.Networks["blue"])) == 0 })
	sim.Put(nameKey("blue", "a", "x"), changes["1"])
	r.await(t, "a name", func(s State) bool { return len(namesIn(s.Networks["blue"])) == 1 })
	if left, err := c.Leave(t.Context(), n, "a"); err != nil || !left {
		t.Fatal(err)
	}
	r.await(t, "no names of a host that has left", func(s State) bool { return len(namesIn(s.Networks["blue"])) == 0 })
}

// What one host publishes costs nobody else anything, and says nothing of others' addresses.
func TestNamesAreJudgedAlone(t *testing.T) {
	hostile := func(change func(*names.Record)) string {
		r := named("x", "10.42.0.9")
		change(&r)
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	records := map[string]string{
		"b/no-record":       "{",
		"b/empty":           "",
		"b/later":           hostile(func(r *names.Record) { r.Version = 99 }),
		"b/another-network": hostile(func(r *names.Record) { r.Owner.Network = "red" }),
		"b/bad-name":        hostile(func(r *names.Record) { r.Aliases = []string{"a..b"} }),
		"b/long-name":       hostile(func(r *names.Record) { r.Names = []string{strings.Repeat("x", 64)} }),
		"b/newline":         hostile(func(r *names.Record) { r.Names = []string{"a\nb"} }),
		"b/too-many":        hostile(func(r *names.Record) { r.Names = slices.Repeat([]string{"n"}, 1000) }),
		"b/deep/key":        hostile(func(*names.Record) {}),
		"b":                 hostile(func(*names.Record) {}),
		"b/":                hostile(func(*names.Record) {}),
		"b c/x":             hostile(func(*names.Record) {}),
	}
	var changes []etcd.Change
	put := func(key, value string) {
		changes = append(changes, etcd.Change{KV: etcd.KV{Key: key, Value: value, Created: 2, Modified: int64(len(changes) + 2)}})
	}
	definition, err := json.Marshal(agentapi.Network{Name: "blue", VNI: 7, Subnets: []agentapi.Subnet{{Prefix: prefix("10.42.0.0/16"), BlockLength: 26}}})
	if err != nil {
		t.Fatal(err)
	}
	put(networkKey("blue"), string(definition))
	put(blockKey("blue", prefix("10.42.0.0/26")), "a")
	put(blockKey("blue", prefix("10.42.0.64/26")), "b")
	put(pinKey("blue", addr("10.42.9.9")), `{"node":"b","containerID":"c","ifName":"eth0"}`)
	put(nameKey("blue", "a", "1"), formatted(t, named("good", "10.42.0.5")))
	put(nameKey("blue", "b", "1"), formatted(t, named("mixed", "10.42.0.65", "10.42.0.6", "10.42.9.9", "10.42.9.8", "1.2.3.4", "fd00::1", "::ffff:10.42.0.66")))
	put(nameKey("blue", "c", "1"), formatted(t, named("stranger", "10.42.0.65")))
	for key, value := range records {
		put(partPrefix("blue", namesPart)+key, value)
	}
	s, _ := State{}.apply(changes)
	n := s.Networks["blue"]
	want := map[string][]netip.Addr{"good": {addr("10.42.0.5")}, "mixed": {addr("10.42.0.65"), addr("10.42.9.9")}, "stranger": nil}
	if diff := cmp.Diff(want, called(n), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for key := range records {
		if key == "b/" || key == "b" {
			continue // checked below
		}
		if n.Faults[partPrefix("blue", namesPart)+key] == nil {
			t.Errorf("%s: no fault", key)
		}
	}
	if len(n.Names) != 3 {
		t.Errorf("names: %v", slices.Sorted(maps.Keys(n.Names)))
	}
}

// A record says nothing of the namespaces, the host or the servers of those who read it.
func TestNamesAreOfTheirHostAlone(t *testing.T) {
	r := named("x", "10.42.0.9")
	r.Netns, r.MAC, r.Internal = names.Netns{Path: "/proc/1/ns/net", Dev: 4, Inode: 4026531840, Cookie: 1}, "02:00:00:00:00:01", true
	r.Host, r.Servers = []netip.Addr{addr("10.42.0.1")}, []netip.Addr{addr("192.0.2.53")}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadName("blue", "b/1", string(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(named("x", "10.42.0.9"), got.Record, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := formatted(t, r); strings.Contains(got, "netns") || strings.Contains(got, "192.0.2.53") {
		t.Errorf("published: %s", got)
	}
}

// Names that come and go change nothing else of a network: neither routes nor files are looked at for them.
func TestNamesChangeNothingElse(t *testing.T) {
	one := etcd.KV{Key: nameKey("blue", "a", "1"), Value: formatted(t, named("web", "10.42.0.5")), Modified: 9}
	before, _ := State{}.apply([]etcd.Change{{KV: etcd.KV{Key: blockKey("blue", prefix("10.42.0.0/26")), Value: "a", Modified: 3}}})
	for _, test := range []struct {
		name    string
		changes []etcd.Change
		want    Changed
	}{
		{"a name", []etcd.Change{{KV: one}}, Changed{Names: []string{"blue"}}},
		{"one that is gone at once", []etcd.Change{{KV: one}, {KV: one, Deleted: true}}, Changed{}},
	} {
		after, changed := before.apply(test.changes)
		if diff := cmp.Diff(test.want, changed); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		if got := after.Networks["blue"].Modified; got != 3 {
			t.Errorf("%s: network of revision %d, want 3", test.name, got)
		}
		again, changed := after.apply([]etcd.Change{{KV: one}})
		if test.name == "a name" && changed.any() {
			t.Errorf("the same under another lease: %+v", changed)
		}
		if len(namesIn(before.Networks["blue"])) != 0 || len(namesIn(again.Networks["blue"])) != 1 {
			t.Error("a state was changed")
		}
	}
}

func FuzzName(f *testing.F) {
	f.Add("a/1", `{"version":1,"owner":{"network":"blue","containerID":"c","ifname":"eth0"},"names":["web"],"addresses":["10.42.0.5"]}`)
	f.Add("a", "{}")
	f.Fuzz(func(t *testing.T, key, value string) {
		s, _ := State{}.apply([]etcd.Change{{KV: etcd.KV{Key: partPrefix("blue", namesPart) + key, Value: value}}})
		for key, name := range namesIn(s.Networks["blue"]) {
			if err := name.Record.Check(); err != nil || !strings.HasPrefix(key, name.Node+"/") || name.Record.Netns != (names.Netns{}) {
				t.Errorf("%s: %+v, %v", key, name, err)
			}
		}
	})
}

// Who asks for the members of a network is not told what all its containers are called.
func TestNetworkWithoutNames(t *testing.T) {
	sim, c := newStore(t)
	n := create(t, c, network("blue", "10.42.0.0/16", 26))
	sim.Put(blockKey("blue", prefix("10.42.0.0/26")), "a")
	sim.Put(nameKey("blue", "a", "1"), formatted(t, named("web", "10.42.0.5")))
	sim.Put(memberKey("blue", "a"), `{"version":1}`)
	sim.Put(pinKey("blue", addr("10.42.9.9")), `{"node":"b","containerID":"c","ifName":"eth0"}`)
	sim.Put(usedKey("blue", "a"), "")
	got, used, err := c.Network(t.Context(), "blue")
	if err != nil {
		t.Fatal(err)
	}
	if got.Created != n.Created || len(got.Blocks) != 1 || len(got.Members) != 1 || len(got.Pins) != 1 || !used["a"] || len(got.Names) != 0 || len(got.Faults) != 0 {
		t.Errorf("got %+v, used %v", got, used)
	}
}
