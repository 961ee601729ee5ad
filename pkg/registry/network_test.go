package registry

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/agentapi"
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
	c := newClient(t, newEtcd(t).Endpoints()...)
	asked := network("blue", "10.42.0.0/16", 0)
	made, err := c.Create(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	if made.VNI < 4096 || made.VNI > maxVNI || made.Subnets[0].BlockLength != 26 || made.Created.IsZero() {
		t.Errorf("made %+v, want a VNI, a block length and a date", made)
	}
	again, err := c.Create(t.Context(), asked)
	if err != nil || !sameDefinition(made, again) {
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
	etcd := newEtcd(t)
	errs := make([]error, 8)
	var all sync.WaitGroup
	for i := range errs {
		c := newClient(t, etcd.Endpoints()...)
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
	c := newClient(t, newEtcd(t).Endpoints()...)
	n := create(t, c, network("blue", "10.42.0.0/16", 26))
	neighbour := create(t, c, network("blue2", "10.43.0.0/16", 26))
	for _, node := range []string{"b", "a", "c"} {
		if _, err := c.Claim(t.Context(), n, node, n.Definition.Subnets[0]); err != nil {
			t.Fatal(err)
		}
		if err := c.Use(t.Context(), "blue", node, n.Created); err != nil {
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
	response, err := c.etcd.Get(t.Context(), root, withPrefixKeysOnly()...)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, kv := range response.Kvs {
		left = append(left, string(kv.Key))
	}
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
		{networkKey("blue"), location{network: "blue"}, true},
		{nodeKey("blue", "a"), location{"blue", "nodes", "a"}, true},
		{blockKey("blue", prefix("10.42.0.0/26")), location{"blue", "blocks", "10.42.0.0/26"}, true},
		{pinKey("vni", addr("fd00::1")), location{"vni", "pins", "fd00::1"}, true},
		{usedKey("networks", "a"), location{"networks", "used", "a"}, true},
		{networks, location{}, false},
		{networks + "a/b", location{}, false},
		{perNet + "blue/nodes/", location{}, false},
		{perNet + "blue", location{}, false},
		{aliveKey("a"), location{}, false},
	} {
		got, ok := parseKey(test.key)
		if ok != test.ok || ok && got != test.want {
			t.Errorf("%s: got %+v %v, want %+v %v", test.key, got, ok, test.want, test.ok)
		}
	}
}

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
	} {
		s, changed := State{}.apply(1, []change{{key: networkKey(name), value: []byte(text), created: 1}})
		if n := s.Networks[name]; n.Absent() || n.Readable() || n.Unreadable == nil || len(changed) != 1 {
			t.Errorf("%s: %+v, changed %v, want a network that is there and unreadable", name, n, changed)
		}
		s, _ = s.apply(2, []change{{key: networkKey(name)}})
		if n := s.Networks[name]; !n.Absent() {
			t.Errorf("%s: %+v after its deletion", name, n)
		}
	}
}

// Records that cannot be read are named, and cost the others nothing.
func TestEachRecordIsJudgedAlone(t *testing.T) {
	definition := []byte(`{"name": "blue", "subnets": [{"prefix": "10.42.0.0/16", "blockLength": 26}], "vni": 5}`)
	bad := []change{
		{key: nodeKey("blue", "b"), value: []byte(`{"vtep": "nowhere"}`)},
		{key: nodeKey("blue", "c"), value: []byte(`{"vtep": "127.0.0.1"}`)},
		{key: nodeKey("blue", "d"), value: []byte(`{"vtep": "224.0.0.1"}`)},
		{key: nodeKey("blue", "e"), value: []byte(`{"vtep": "fe80::1%eth0"}`)},
		{key: nodeKey("blue", "f"), value: []byte(`[]`)},
		{key: nodeKey("blue", "g"), value: []byte(``)},
		{key: perNet + "blue/blocks/10.0.0.0", value: []byte("a")},
		{key: perNet + "blue/blocks/10.42.0.0/26", value: []byte("a b")},
		{key: perNet + "blue/pins/x", value: []byte("{}")},
		{key: perNet + "blue/pins/10.42.0.1", value: []byte("{}")},
	}
	good := []change{
		{key: networkKey("blue"), value: definition, created: 7},
		{key: nodeKey("blue", "a"), value: []byte(`{"vtep": "192.0.2.1", "later": 1}`)},
		{key: perNet + "blue/later/x", value: []byte("1")},
	}
	s, _ := State{}.apply(8, append(slices.Clone(bad), good...))
	n := s.Networks["blue"]
	if !n.Readable() || len(n.Nodes) != 1 || len(n.Blocks) != 0 || len(n.Pins) != 0 {
		t.Errorf("network %+v, want host a alone", n)
	}
	for _, ch := range bad {
		if n.Faults[ch.key] == nil {
			t.Errorf("%s is left out without a word", ch.key)
		}
	}
	for i := range bad {
		bad[i].value = nil
	}
	s, changed := s.apply(9, bad)
	if n := s.Networks["blue"]; len(n.Faults) != 0 || len(changed) != 1 {
		t.Errorf("faults %v, changed %v after the bad records were deleted", n.Faults, changed)
	}
}

func TestEqualValuesAreNoChange(t *testing.T) {
	list := []change{
		{key: networkKey("blue"), value: []byte(`{"name": "blue", "subnets": [{"prefix": "10.42.0.0/16", "blockLength": 26}], "vni": 5}`), created: 7},
		{key: nodeKey("blue", "a"), value: []byte(`{"vtep": "192.0.2.1", "bootID": "b"}`)},
	}
	first, changed := State{}.apply(8, list)
	if diff := cmp.Diff([]string{"blue"}, changed); diff != "" {
		t.Errorf("changed at first (-want +got):\n%s", diff)
	}
	if _, changed := first.apply(9, list); len(changed) != 0 {
		t.Errorf("changed by equal values: %v", changed)
	}
	if next, changed := first.replace(9, list); len(changed) != 0 || next.Revision != 9 {
		t.Errorf("changed by an equal list: %v at %d", changed, next.Revision)
	}
	list[1].value = []byte(`{"vtep": "192.0.2.2", "bootID": "b"}`)
	next, changed := first.replace(10, list)
	if len(changed) != 1 || next.Networks["blue"].Nodes["a"].VTEP != addr("192.0.2.2") {
		t.Errorf("a new VTEP is not seen: %v", changed)
	}
	if first.Networks["blue"].Nodes["a"].VTEP != addr("192.0.2.1") {
		t.Error("the state before has changed")
	}
	if _, changed := next.replace(11, nil); len(changed) != 1 {
		t.Errorf("changed by an empty list: %v, want blue", changed)
	}
}
