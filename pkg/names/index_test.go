package names

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// model answers like an index, by looking through all records.
type model map[string]Record

func (m model) networks(s Space) (networks []string) {
	for _, r := range m {
		if r.Netns.Space() == s && !slices.Contains(networks, r.Owner.Network) {
			networks = append(networks, r.Owner.Network)
		}
	}
	return networks
}

func (m model) lookup(s Space, name string) (found []string, known bool) {
	find := func(network, name string) {
		for _, r := range m {
			called := append(slices.Concat(r.Names, r.Aliases), ShortID(r.Owner.ContainerID))
			if r.Owner.Network == network && slices.ContainsFunc(called, func(n string) bool { return strings.EqualFold(n, name) }) {
				known = true
				for _, a := range r.Addresses {
					found = append(found, a.String())
				}
			}
		}
	}
	networks := m.networks(s)
	for _, n := range networks {
		find(n, name)
	}
	if !known {
		for _, n := range networks {
			if i := len(name) - len(n) - 1; i > 0 && strings.EqualFold(name[i:], "."+n) {
				find(n, name[:i])
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found), known
}

func (m model) reverse(s Space, addr netip.Addr) (found []string) {
	for _, r := range m {
		if slices.Contains(m.networks(s), r.Owner.Network) && slices.Contains(r.Addresses, addr) {
			found = append(found, r.first()+"."+r.Owner.Network)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// TestIndexAgainstModel sets and deletes records at random, and asks both.
func TestIndexAgainstModel(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		pick := func(of ...string) string { return of[random.IntN(len(of))] }
		words := []string{"a", "A", "b", "a.one", "one", "b.Two.three", "c d"}
		networks := []string{"one", "Two.three", "a"}
		x, m := NewIndex(), model{}
		for step := range 400 {
			k := fmt.Sprint(random.IntN(12))
			if random.IntN(3) == 0 {
				x.Delete(k)
				delete(m, k)
			} else {
				r := Record{Owner: Owner{pick(networks...), fmt.Sprintf("%012d-%s", random.IntN(4), k), "eth0"}}
				for range random.IntN(3) {
					r.Names = append(r.Names, pick(words...))
					r.Aliases = append(r.Aliases, pick(words...))
					r.Addresses = append(r.Addresses, netip.AddrFrom4([4]byte{10, 0, 0, byte(random.IntN(6))}))
				}
				if random.IntN(4) > 0 {
					r.Netns.Inode = uint64(1 + random.IntN(3))
				}
				x.Set(k, r)
				m[k] = r
			}
			s := Space{Inode: uint64(1 + random.IntN(3))}
			name := pick(append(words, "a.a", "A.ONE", "b.two.three.two.three", "000000000001", "none", "one.one")...)
			addrs, known := x.Lookup(s, name)
			var got []string
			for _, a := range addrs {
				got = append(got, a.String())
			}
			slices.Sort(got)
			want, wantKnown := m.lookup(s, name)
			if diff := cmp.Diff(want, got); diff != "" || known != wantKnown {
				t.Fatalf("seed %d, step %d: %q from %v: known %t, want %t (-want +got):\n%s", seed, step, name, s, known, wantKnown, diff)
			}
			addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(random.IntN(6))})
			names := x.Reverse(s, addr)
			slices.Sort(names)
			if diff := cmp.Diff(m.reverse(s, addr), names); diff != "" {
				t.Fatalf("seed %d, step %d: %s from %v (-want +got):\n%s", seed, step, addr, s, diff)
			}
			_, ok := x.Asker(s)
			if ok != (len(m.networks(s)) > 0) {
				t.Fatalf("seed %d, step %d: Asker(%v) is %t", seed, step, s, ok)
			}
		}
		for _, k := range x.Keys() {
			x.Delete(k)
		}
		if len(x.networks)+len(x.spaces)+len(x.records) != 0 {
			t.Fatalf("seed %d: left %+v", seed, x)
		}
	}
}

func TestHostNames(t *testing.T) {
	x := NewIndex()
	r := example()
	x.Set("1", r)
	s := r.Netns.Space()
	if addrs, known := x.Lookup(s, "Host.Docker.Internal"); !known || len(addrs) != 1 || addrs[0] != r.Host[0] {
		t.Errorf("%v, %t", addrs, known)
	}
	if _, known := x.Lookup(Space{1, 1, 1}, "host-gateway"); known {
		t.Error("known to a stranger")
	}
	other := example()
	other.Owner.IfName, other.Aliases, other.Addresses = "eth1", []string{"host-gateway"}, []netip.Addr{netip.MustParseAddr("10.9.0.1")}
	x.Set("2", other)
	if addrs, _ := x.Lookup(s, "host-gateway"); len(addrs) != 1 || addrs[0] != other.Addresses[0] {
		t.Errorf("a container of that name comes first: %v", addrs)
	}
}

func TestAsker(t *testing.T) {
	x := NewIndex()
	r := example()
	x.Set("1", r)
	s := r.Netns.Space()
	if a, ok := x.Asker(s); !ok || !a.Internal || len(a.Servers) != 1 {
		t.Errorf("%+v, %t", a, ok)
	}
	open := example()
	open.Owner.Network, open.Internal, open.Servers = "open", false, nil
	open.Netns.Path = "/proc/1/ns/net" // another way to the same
	x.Set("2", open)
	if a, _ := x.Asker(s); a.Internal || len(a.Networks) != 2 {
		t.Errorf("with a network that is not internal: %+v", a)
	}
	if ways := x.Ways(s); len(ways) != 2 {
		t.Errorf("ways %v", ways)
	}
	if _, ok := x.Asker(Space{}); ok {
		t.Error("a record of another host makes an asker")
	}
}
