package kernel

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestListingsAsTheLibrary: what is listed of a namespace is what the netlink library lists, of routes by each next hop.
func TestListingsAsTheLibrary(t *testing.T) {
	testnet.NewHost(t)
	ns := testnet.NewNS(t, "routed")
	for _, command := range []string{
		"link add e0 type veth peer name e1", "link set e0 up", "link set e1 up", "address add 192.0.2.2/24 dev e0", "address add 192.0.2.9/24 dev e0", "address add 10.0.0.1 peer 10.0.0.2/32 dev e1",
		"address add 2001:db8::2/64 dev e0 nodad", "route add default via 192.0.2.1 metric 7", "route add 198.51.100.0/24 nexthop via 192.0.2.3 nexthop via 10.0.0.2 dev e1 onlink",
		"route add unreachable 10.9.0.0/16", "route add blackhole 10.10.0.0/16 metric 3", "route add 10.11.0.0/16 dev e1 table 77", "route add 2001:db8:1::/48 via 2001:db8::1",
		"-6 route add 2001:db8:2::/48 nexthop via 2001:db8::1 nexthop via 2001:db8::3",
	} {
		if !testnet.HasIPv6() && strings.Contains(command, "2001:db8:") {
			continue
		}
		testnet.Sh(t, "ip", append([]string{"-n", filepath.Base(ns.Path)}, strings.Fields(command)...)...)
	}
	k, err := Open(ns.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	var got, want []string
	if err := k.Container.EachHop(func(r RouteEntry) {
		got = append(got, fmt.Sprint(r.Dst, r.Type, r.Protocol, r.Link, r.Via.IsValid(), r.Metric))
	}); err != nil {
		t.Fatal(err)
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := k.Container.RouteList(nil, family)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range routes {
			hops := r.MultiPath
			if len(hops) == 0 {
				hops = []*netlink.NexthopInfo{{LinkIndex: r.LinkIndex, Gw: r.Gw}}
			}
			for _, hop := range hops {
				want = append(want, fmt.Sprint(r.Dst, r.Type, int(r.Protocol), hop.LinkIndex, hop.Gw != nil, r.Priority))
			}
		}
	}
	compareSorted(t, got, want)
	got, want = nil, nil
	if err := k.Container.EachAddress(func(a AddressEntry) { got = append(got, fmt.Sprint(a.Link, a.Prefix)) }); err != nil {
		t.Fatal(err)
	}
	addresses, err := k.Container.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		want = append(want, fmt.Sprint(a.LinkIndex, a.IPNet))
	}
	compareSorted(t, got, want)
}

func compareSorted(t *testing.T, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" || len(got) < 3 {
		t.Errorf("(-library +ours):\n%s", diff)
	}
}

// TestNumberOf: the number is that of ip netns list-id, and there is none before a link leads there.
func TestNumberOf(t *testing.T) {
	testnet.NewHost(t)
	ns := testnet.NewNS(t, "numbered")
	k, err := Open(ns.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if n, err := k.NumberOf(ns.Path); n != -1 || err != nil {
		t.Errorf("before: got %d, %v, want -1", n, err)
	}
	testnet.Sh(t, "ip", "link", "add", "here", "type", "veth", "peer", "name", "there", "netns", filepath.Base(ns.Path))
	link, err := k.Host.Link("here")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := k.NumberOf(ns.Path); n < 0 || n != link.Attrs().NetNsID || err != nil {
		t.Errorf("got %d, %v, want %d", n, err, link.Attrs().NetNsID)
	}
}
