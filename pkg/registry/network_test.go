package registry

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd"
	"github.com/fairway-cni/fairway/pkg/overlay"
)

func TestComplete(t *testing.T) {
	subnets := func(all ...string) []agentapi.Subnet {
		var list []agentapi.Subnet
		for _, s := range all {
			list = append(list, agentapi.Subnet{Prefix: prefix(s)})
		}
		return list
	}
	for _, test := range []struct {
		name string
		in   agentapi.Network
		want string // the blocks' lengths, or the error
	}{
		{"IPv4", agentapi.Network{Name: "n", Subnets: subnets("10.42.0.0/16")}, "[26]"},
		{"small", agentapi.Network{Name: "n", Subnets: subnets("10.42.0.0/24")}, "[28]"},
		{"smallest", agentapi.Network{Name: "n", Subnets: subnets("10.42.0.0/30")}, "[30]"},
		{"dual stack", agentapi.Network{Name: "n", Subnets: subnets("10.42.0.0/16", "fd00::/64")}, "[26 80]"},
		{"small of IPv6", agentapi.Network{Name: "n", Subnets: subnets("fd00::/120")}, "[126]"},
		{"given", agentapi.Network{Name: "n", Subnets: []agentapi.Subnet{{Prefix: prefix("10.42.0.0/16"), BlockLength: 24}}}, "[24]"},
		{"no name", agentapi.Network{Subnets: subnets("10.42.0.0/16")}, `name "": begin with a letter or digit, go on with these, '_', '.' or '-', at most 200`},
		{"a path", agentapi.Network{Name: "../x", Subnets: subnets("10.42.0.0/16")}, `name "../x": begin with a letter or digit, go on with these, '_', '.' or '-', at most 200`},
		{"VNI", agentapi.Network{Name: "n", VNI: 1 << 24, Subnets: subnets("10.42.0.0/16")}, "vni 16777216: give one from 1 to 16777215, or leave it out"},
		{"none", agentapi.Network{Name: "n"}, "subnets has 0 entries: give one of IPv4, one of IPv6, or one of each"},
		{"empty", agentapi.Network{Name: "n", Subnets: make([]agentapi.Subnet, 1)}, "subnets has an entry without prefix: give one such as 10.42.0.0/16"},
		{"host bits", agentapi.Network{Name: "n", Subnets: subnets("10.42.0.1/16")}, "invalid subnet 10.42.0.1/16: it should be 10.42.0.0/16"},
		{"too small", agentapi.Network{Name: "n", Subnets: subnets("10.42.0.0/31")}, "blockLength 30 of subnet 10.42.0.0/31: give one from 31 to 30, or a larger subnet"},
		{"one family", agentapi.Network{Name: "n", Subnets: subnets("10.42.0.0/16", "10.43.0.0/16")},
			"subnets 10.42.0.0/16 and 10.43.0.0/16 are of one family: give one of IPv4, one of IPv6, or one of each"},
		{"long block", agentapi.Network{Name: "n", Subnets: []agentapi.Subnet{{Prefix: prefix("10.42.0.0/16"), BlockLength: 31}}},
			"blockLength 31 of subnet 10.42.0.0/16: give one from 16 to 30, or a larger subnet"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, err := Complete(test.in)
			var lengths []int
			for _, s := range n.Subnets {
				lengths = append(lengths, s.BlockLength)
			}
			got := fmt.Sprint(lengths)
			if err != nil {
				got = err.Error()
				if !errors.Is(err, agentapi.ErrInvalid) {
					t.Errorf("error %v is not ErrInvalid", err)
				}
			}
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestCreate(t *testing.T) {
	_, c := newStore(t)
	asked := network("blue", "10.42.0.0/16", 0)
	made, err := c.Create(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	if made.VNI < overlay.FirstVNI || made.VNI > maxVNI || made.Subnets[0].BlockLength != 26 || made.Created.IsZero() {
		t.Errorf("made %+v, want a VNI, a block length and a date", made)
	}
	again, err := c.Create(t.Context(), asked)
	if err != nil || !made.Same(again) {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	for _, test := range []struct {
		name  string
		asked agentapi.Network
		want  string
	}{
		{"name", network("blue", "10.43.0.0/16", 26), "network blue exists with another definition: delete it first, or choose another name"},
		{"subnet", network("green", "10.42.128.0/17", 26), "subnet 10.42.128.0/17 overlaps 10.42.0.0/16 of network blue: give another"},
		{"VNI", agentapi.Network{Name: "green", VNI: made.VNI, Subnets: network("", "10.43.0.0/16", 26).Subnets},
			fmt.Sprintf("vni %d is that of network blue: give another, or leave it out", made.VNI)},
	} {
		if _, err := c.Create(t.Context(), test.asked); !errors.Is(err, agentapi.ErrExists) || err.Error() != test.want {
			t.Errorf("%s: error %v, want %q", test.name, err, test.want)
		}
	}
}

// Of hosts that make overlapping networks at once, one succeeds.
func TestCreateAtOnce(t *testing.T) {
	sim, _ := newStore(t)
	errs := make([]error, 8)
	var all sync.WaitGroup
	for i := range errs {
		c := New(sim.Client(uint64(i)))
		all.Go(func() { _, errs[i] = c.Create(t.Context(), network(fmt.Sprintf("net%d", i), "10.42.0.0/16", 26)) })
	}
	all.Wait()
	made := 0
	for _, err := range errs {
		if err == nil {
			made++
		} else if !errors.Is(err, agentapi.ErrExists) {
			t.Errorf("error %v, want one that is ErrExists", err)
		}
	}
	if made != 1 {
		t.Errorf("%d networks of one subnet were made, want 1", made)
	}
}

func TestDelete(t *testing.T) {
	sim, c := newStore(t)
	n := create(t, c, network("blue", "10.42.0.0/16", 26))
	neighbour := create(t, c, network("blue2", "10.43.0.0/16", 26))
	alive(t, sim, "a", "b", "c")
	for _, node := range []string{"b", "a", "c"} {
		if _, err := claimAs(t, c, n, node); err != nil {
			t.Fatal(err)
		}
		if err := c.Use(t.Context(), n, node); err != nil {
			t.Fatal(err)
		}
	}
	err := c.Delete(t.Context(), "blue")
	if want := "network blue is in use: remove its containers on hosts a, b and c first"; !errors.Is(err, agentapi.ErrInUse) || err.Error() != want {
		t.Errorf("delete of a network in use: error %v, want %q", err, want)
	}
	for _, node := range []string{"a", "b", "c"} {
		if err := c.Unuse(t.Context(), "blue", node); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Delete(t.Context(), "blue"); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), "blue"); !errors.Is(err, agentapi.ErrNotFound) {
		t.Errorf("delete again: error %v, want one that is ErrNotFound", err)
	}
	var left []string
	for key := range sim.Keys(root) {
		if !strings.HasPrefix(key, heartbeats) && key != pulseKey {
			left = append(left, key)
		}
	}
	slices.Sort(left)
	if diff := cmp.Diff([]string{networkKey("blue2"), vniKey(neighbour.Definition.VNI)}, left); diff != "" {
		t.Errorf("keys left (-want +got):\n%s", diff)
	}
}

func TestParseKey(t *testing.T) {
	for _, test := range []struct {
		key  string
		want location
		ok   bool
	}{
		{clusterKey, location{}, true},
		{networkKey("blue"), location{network: "blue"}, true},
		{hostKey("a"), location{host: "a"}, true},
		{memberKey("blue", "a"), location{network: "blue", part: "nodes", name: "a"}, true},
		{blockKey("blue", prefix("10.42.0.0/26")), location{network: "blue", part: "blocks", name: "10.42.0.0/26"}, true},
		{pinKey("vni", addr("fd00::1")), location{network: "vni", part: "pins", name: "fd00::1"}, true},
		{usedKey("networks", "a"), location{network: "networks", part: "used", name: "a"}, true},
		{networks, location{}, false},
		{networks + "a/b", location{}, false},
		{perNet + "blue/nodes/", location{}, false},
		{perNet + "blue", location{}, false},
		{heartbeatKey("a"), location{}, false},
	} {
		got, ok := parseKey(test.key)
		if ok != test.ok || ok && got != test.want {
			t.Errorf("%s: got %+v %v, want %+v %v", test.key, got, ok, test.want, test.ok)
		}
	}
}

// What members follow has neither heartbeats nor usage in it.
func TestWhatIsFollowed(t *testing.T) {
	for _, r := range []etcd.Range{membership("blue"), etcd.Prefix(networks), etcd.Prefix(nodes), {Key: clusterKey}} {
		for _, key := range []string{heartbeatKey("a"), usedKey("blue", "a"), vniKey(5), keeperKey, settling, wantedKey("blue"), testimonyKey("blue"), memberKey("red", "a")} {
			if key == r.Key || r.End != "" && key >= r.Key && key < r.End {
				t.Errorf("%s lies in what hosts follow from %s", key, r.Key)
			}
		}
	}
	r := membership("blue")
	for _, key := range []string{memberKey("blue", "a"), blockKey("blue", prefix("10.42.0.0/26")), pinKey("blue", addr("10.42.0.1"))} {
		if key < r.Key || key >= r.End {
			t.Errorf("%s is not followed by members", key)
		}
	}
}

// change is a key with a value, created at a revision.
func change(key, value string, created int64) etcd.Change {
	return etcd.Change{KV: etcd.KV{Key: key, Value: value, Created: created, Modified: created}}
}

func deleted(key string) etcd.Change { return etcd.Change{KV: etcd.KV{Key: key}, Deleted: true} }

// A definition is absent, readable or unreadable; the last is not the first.
func TestUnreadableIsNotAbsent(t *testing.T) {
	for name, text := range map[string]string{
		"broken": "{",
		"other":  `{"name": "name"}`,
		"short":  `{"name": "short", "vni": 5, "subnets": [{"prefix": "10.42.0.0/16"}]}`,
		"large":  `{"name": "large", "vni": 5, "subnets": [{"prefix": "10.42.0.0/16", "blockLength": 8}]}`,
		"later":  `{"name": "later", "vni": 5, "subnets": [{"prefix": "10.42.0.0/16", "blockLength": 31}]}`,
		"no-vni": `{"name": "no-vni", "subnets": [{"prefix": "10.42.0.0/16", "blockLength": 26}]}`,
		"empty":  "",
		"secret": `{"name": "secret", "vni": 5, "requires": ["encryption"], "subnets": [{"prefix": "10.42.0.0/16", "blockLength": 26}]}`,
	} {
		s, changed := State{}.apply([]etcd.Change{change(networkKey(name), text, 1)})
		if n := s.Networks[name]; n.Absent() || n.Readable() || n.Unreadable == nil || len(changed.Networks) != 1 {
			t.Errorf("%s: %+v, changed %v, want a network that is there and unreadable", name, n, changed)
		}
		s, _ = s.apply([]etcd.Change{deleted(networkKey(name))})
		if n := s.Networks[name]; !n.Absent() {
			t.Errorf("%s: %+v after its deletion", name, n)
		}
	}
}

// Records that cannot be read are named, and cost the others nothing.
func TestEachRecordIsJudgedAlone(t *testing.T) {
	definition := `{"name": "blue", "subnets": [{"prefix": "10.42.0.0/16", "blockLength": 26}], "vni": 5}`
	bad := []etcd.Change{
		change(memberKey("blue", "b"), `{"vtep": "nowhere"}`, 1),
		change(memberKey("blue", "c"), `{"vtep": "127.0.0.1"}`, 1),
		change(memberKey("blue", "d"), `{"vtep": "224.0.0.1"}`, 1),
		change(memberKey("blue", "e"), `{"vtep": "fe80::1%eth0"}`, 1),
		change(memberKey("blue", "f"), `[]`, 1),
		change(memberKey("blue", "g"), ``, 1),
		change(memberKey("blue", "h"), `{}`, 1),
		change(perNet+"blue/blocks/10.0.0.0", "a", 1),
		change(perNet+"blue/blocks/10.42.0.0/26", "a b", 1),
		change(perNet+"blue/pins/x", "{}", 1),
		change(perNet+"blue/pins/10.42.0.1", "{}", 1),
	}
	hosts := []etcd.Change{
		change(hostKey("b"), "{", 1), change(hostKey("c"), `{"version": 1, "vtep": "0.0.0.0"}`, 1), change(hostKey("b c"), `{"version": 1, "vtep": "192.0.2.9"}`, 1),
	}
	good := []etcd.Change{
		change(networkKey("blue"), definition, 7),
		change(memberKey("blue", "a"), `{"vtep": "192.0.2.1", "later": 1}`, 7),
		change(memberKey("blue", "z"), `{"version": 9}`, 7),
		change(hostKey("z"), `{"version": 9, "vtep": "192.0.2.2", "later": 1}`, 7),
		change(perNet+"blue/later/x", "1", 7),
	}
	s, _ := State{}.apply(slices.Concat(bad, hosts, good))
	n := s.Networks["blue"]
	if !n.Readable() || len(n.Members) != 2 || len(n.Blocks) != 0 || len(n.Pins) != 0 || len(s.Hosts) != 1 {
		t.Errorf("network %+v, hosts %v, want hosts a and z alone", n, s.Hosts)
	}
	if s.Address(n, "a") != addr("192.0.2.1") || s.Address(n, "z") != addr("192.0.2.2") {
		t.Errorf("addresses %v, %v", s.Address(n, "a"), s.Address(n, "z"))
	}
	for _, ch := range bad {
		if n.Faults[ch.Key] == nil {
			t.Errorf("%s is left out without a word", ch.Key)
		}
	}
	for _, ch := range hosts {
		if s.Faults[ch.Key] == nil {
			t.Errorf("%s is left out without a word", ch.Key)
		}
	}
	var gone []etcd.Change
	for _, ch := range slices.Concat(bad, hosts) {
		gone = append(gone, deleted(ch.Key))
	}
	s, changed := s.apply(gone)
	if n := s.Networks["blue"]; len(n.Faults)+len(s.Faults) != 0 || len(changed.Networks) != 1 || !changed.Hosts {
		t.Errorf("faults %v, %v, changed %v after the bad records were deleted", n.Faults, s.Faults, changed)
	}
}

func TestEqualValuesAreNoChange(t *testing.T) {
	list := []etcd.Change{
		change(networkKey("blue"), `{"name": "blue", "subnets": [{"prefix": "10.42.0.0/16", "blockLength": 26}], "vni": 5}`, 7),
		change(memberKey("blue", "a"), `{"version": 1}`, 8),
		change(hostKey("a"), `{"version": 1, "vtep": "192.0.2.1"}`, 9),
		change(networkKey("red"), `{"name": "red", "subnets": [{"prefix": "10.43.0.0/16", "blockLength": 26}], "vni": 6}`, 10),
	}
	first, changed := State{}.apply(list)
	if diff := cmp.Diff([]string{"blue", "red"}, changed.Networks); diff != "" || !changed.Hosts {
		t.Errorf("changed at first (-want +got):\n%s", diff)
	}
	list[2].Modified = 11
	if _, changed := first.apply(list); changed.any() {
		t.Errorf("changed by equal values: %v", changed)
	}
	moved, changed := first.apply([]etcd.Change{change(hostKey("a"), `{"version": 1, "vtep": "192.0.2.2"}`, 12)})
	if diff := cmp.Diff([]string{"blue"}, changed.Networks); diff != "" || !changed.Hosts {
		t.Errorf("changed by a host that moved (-want +got):\n%s", diff)
	}
	if moved.Address(moved.Networks["blue"], "a") != addr("192.0.2.2") || first.Hosts["a"].VTEP != addr("192.0.2.1") {
		t.Error("the new address is not seen, or the state before has changed")
	}
}

// What another release has added to a record is there after this one has written it.
func TestUnknownKeysAreKept(t *testing.T) {
	sim, c := newStore(t)
	alive(t, sim, "a")
	sim.Put(hostKey("a"), `{"version": 7, "vtep": "192.0.2.1", "mtu": 9000, "wireguard": {"key": "x"}}`)
	if err := c.Publish(t.Context(), State{}, "a", "a", Host{VTEP: addr("192.0.2.2")}); err != nil {
		t.Fatal(err)
	}
	if got, want := sim.Keys(hostKey("a"))[hostKey("a")], `{"version":1,"vtep":"192.0.2.2","wireguard":{"key":"x"}}`; got != want {
		t.Errorf("record %s, want %s", got, want)
	}
}

// A cluster is mixed as long as a host of a former release may come back.
func TestMixed(t *testing.T) {
	sim, c := newStore(t)
	create(t, c, network("blue", "10.42.0.0/16", 26)) // as a former release does: there is no cluster yet
	member := memberKey("blue", "old")
	sim.Put(member, `{"vtep":"192.0.2.9","bootID":"boot"}`)
	if _, err := c.recognise(t.Context(), Memory{}, testDefaults()); err != nil {
		t.Fatal(err)
	}
	alive(t, sim, "new")
	sim.Put(hostKey("new"), `{"version":1,"vtep":"192.0.2.1"}`)
	keeper := c.NewKeeper("new")
	look := func() bool {
		if err := keeper.Look(t.Context(), 1, time.Now()); err != nil {
			t.Fatal(err)
		}
		return current(t, c).Cluster.Mixed
	}
	lease, err := c.store.Grant(t.Context(), time.Hour)
	if err != nil || lease != 1 {
		t.Fatal(lease, err)
	}
	alive(t, sim, "old")
	if !look() {
		t.Error("not mixed with an agent of a former release")
	}
	sim.Delete(heartbeatKey("old"))
	if !look() {
		t.Error("not mixed while that is cut off")
	}
	sim.Delete(member)
	if look() {
		t.Error("mixed without any")
	}
}
