package topology_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/golden"
	"github.com/fairway-cni/fairway/pkg/snapshot"
	"github.com/fairway-cni/fairway/pkg/state/ports"
	"github.com/fairway-cni/fairway/pkg/topology"
)

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// container is a namespace with one veth, whose host end has an index of the host.
func container(id int, path string, hostEnd int, addrs ...string) snapshot.Namespace {
	return snapshot.Namespace{
		ID: id, Paths: []string{path},
		Links: []snapshot.Link{
			{Index: 1, Name: "lo", Kind: "loopback", Up: true, MTU: 65536, LowerIn: snapshot.None},
			{Index: 2, Name: "eth0", Kind: "veth", Up: true, MTU: 1500, Addrs: prefixes(addrs...), Lower: hostEnd, LowerIn: 0},
		},
		Routes: []snapshot.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Link: 2, Kind: "unicast"}},
	}
}

// hostEnd is the other end of a container's eth0.
func hostEnd(index int, name string, ns, master int) snapshot.Link {
	return snapshot.Link{Index: index, Name: name, Kind: "veth", Up: true, MTU: 1500, Master: master, Lower: 2, LowerIn: ns}
}

// office is a host with one of everything.
func office() topology.Facts {
	none := snapshot.None
	host := snapshot.Namespace{
		ID: none,
		Links: []snapshot.Link{
			{Index: 1, Name: "lo", Kind: "loopback", Up: true, LowerIn: none},
			{Index: 2, Name: "eth0", Kind: "device", Up: true, MTU: 1500, LowerIn: none,
				Addrs: prefixes("192.0.2.10/24", "2001:db8:2::10/64", "fe80::10/64")},
			{Index: 3, Name: "eth1", Kind: "device", MTU: 9000, LowerIn: none},
			{Index: 4, Name: "sit0", Kind: "sit", LowerIn: none},
			{Index: 5, Name: "br-blue", Kind: "bridge", Up: true, MTU: 1500, Addrs: prefixes("10.4.0.1/24", "fd00:4::1/64"), LowerIn: none},
			hostEnd(6, "vethblueweb", 0, 5),
			hostEnd(7, "vethbluedb", 2, 5),
			{Index: 8, Name: "br-dark", Kind: "bridge", Up: true, MTU: 1500, Addrs: prefixes("10.5.0.1/24"), LowerIn: none},
			hostEnd(9, "vethdarkjob", 3, 8),
			{Index: 10, Name: "docker0", Kind: "bridge", MTU: 1500, Addrs: prefixes("172.17.0.1/16"), LowerIn: none},
			{Index: 11, Name: "fwvx4096", Kind: "vxlan", Up: true, MTU: 1450, LowerIn: none,
				VXLAN: snapshot.VXLAN{VNI: 4096, Local: netip.MustParseAddr("192.0.2.10"), Port: 4789}},
			hostEnd(12, "vethovl", 5, 0),
			{Index: 13, Name: "eth0.20", Kind: "vlan", Up: true, MTU: 1500, Lower: 2, LowerIn: none},
			hostEnd(14, "cali0", 6, 0),
			{Index: 15, Name: "tap0", Kind: "tuntap", Up: true, MTU: 1500, Master: 5, LowerIn: none},
			{Index: 16, Name: "p0", Kind: "veth", Up: true, MTU: 1500, Lower: 17, LowerIn: none},
			{Index: 17, Name: "p1", Kind: "veth", Up: true, MTU: 1500, Lower: 16, LowerIn: none},
		},
		Routes: []snapshot.Route{
			{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.1"), Link: 2, Kind: "unicast", Priority: 100},
			{Dst: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("fe80::1"), Link: 2, Kind: "unicast"},
			{Dst: netip.MustParsePrefix("10.42.1.0/24"), Kind: "unreachable"},
			{Dst: netip.MustParsePrefix("10.42.2.0/24"), Via: netip.MustParseAddr("10.42.2.0"), Link: 11, Kind: "unicast"},
			{Dst: netip.MustParsePrefix("10.42.3.0/24"), Via: netip.MustParseAddr("10.42.3.0"), Link: 11, Kind: "unicast"},
		},
		Neighbours: []snapshot.Neighbour{
			{Link: 11, Addr: netip.MustParseAddr("10.42.2.0"), MAC: "02:00:00:00:00:02"},
			{Link: 11, Addr: netip.MustParseAddr("10.42.3.0"), MAC: "02:00:00:00:00:03"},
		},
		Forwards: []snapshot.Forward{
			{Link: 11, MAC: "02:00:00:00:00:02", To: netip.MustParseAddr("192.0.2.11")},
			{Link: 11, MAC: "02:00:00:00:00:03", To: netip.MustParseAddr("192.0.2.12")},
		},
	}
	web := container(0, "/run/netns/web", 6, "10.4.0.2/24", "fd00:4::2/64")
	web.Links = append(web.Links, snapshot.Link{Index: 3, Name: "eth1", Kind: "macvlan", Mode: "bridge", Up: true, MTU: 1500,
		Addrs: prefixes("198.51.100.7/24"), Lower: 13, LowerIn: 0})
	web.Routes = append(web.Routes, snapshot.Route{Dst: netip.MustParsePrefix("0.0.0.0/0"), Link: 3, Kind: "unicast", Priority: 1})
	job := container(3, "/run/netns/job", 9, "10.5.0.2/24")
	job.Links[1].MTU = 1400
	host.Links[8].Isolated = true
	stranger := container(6, "/run/netns/pod", 14, "10.77.0.2/32")
	stranger.Paths, stranger.Process = nil, "nginx 4711"
	closed := snapshot.Namespace{ID: none, Paths: []string{"/run/netns/closed"},
		Links: []snapshot.Link{{Index: 1, Name: "lo", Kind: "loopback", Up: true, LowerIn: none}}}
	return topology.Facts{
		Host: snapshot.Host{Hostname: "office", Namespace: host, Others: []snapshot.Namespace{
			web, container(2, "/run/netns/db", 7, "10.4.0.3/24"), job, container(5, "/run/netns/api", 12, "10.42.1.2/32"), stranger, closed,
		}},
		Networks: []topology.Network{
			{Name: "blue", Type: "bridge", Link: "br-blue", Defined: true, Marks: []string{topology.Masquerade}},
			{Name: "dark", Type: "bridge", Link: "br-dark", Defined: true, Marks: []string{topology.Internal, topology.NoICC}},
			{Name: "lan", Type: "macvlan", Link: "eth0.20", Defined: true},
			{Name: "wide", Type: "overlay-vxlan", Link: "fwvx4096", Subnets: prefixes("10.42.0.0/16"), Defined: true},
			{Name: "spare", Type: "bridge", Link: "br-spare", Subnets: prefixes("10.6.0.0/24"), Defined: true},
			{Name: "host", Type: "host"}, {Name: "bridge", Type: "bridge", Link: "fairway0"},
		},
		Attachments: []topology.Attachment{
			{Network: "blue", ID: "c1", Name: "web", IfName: "eth0", Netns: "/run/netns/web", Ports: []ports.Port{
				{Protocol: unix.IPPROTO_TCP, HostIP: netip.IPv4Unspecified(), HostPort: 8080, ContainerPort: 80},
				{Protocol: unix.IPPROTO_TCP, HostIP: netip.IPv6Unspecified(), HostPort: 8080, ContainerPort: 80},
				{Protocol: unix.IPPROTO_UDP, HostIP: netip.MustParseAddr("192.0.2.7"), HostPort: 5000, ContainerPort: 5000, More: 99},
			}},
			{Network: "lan", ID: "c1", Name: "web", IfName: "eth1", Netns: "/run/netns/web"},
			{Network: "blue", ID: "c2", Name: "db", IfName: "eth0", Netns: "/run/netns/db", Ports: several(7)},
			{Network: "dark", ID: "c3", IfName: "eth0", Netns: "/run/netns/job"},
			{Network: "host", ID: "c4", Name: "exporter", IfName: "eth0", Netns: "/proc/1/ns/net"},
			{Network: "wide", ID: "c5", Name: "api", IfName: "eth0", Netns: "/run/netns/api"},
			{Network: "blue", ID: "gone", IfName: "eth0", Netns: "/run/netns/gone"},
		},
	}
}

// several are n ports that are published.
func several(n uint16) (list []ports.Port) {
	for i := range n {
		list = append(list, ports.Port{Protocol: unix.IPPROTO_TCP, HostIP: netip.IPv4Unspecified(), HostPort: 3306 + i, ContainerPort: 3306})
	}
	return list
}

// crowd is a host with thirty containers on one bridge, with names as long as they get.
func crowd() topology.Facts {
	f := topology.Facts{Host: snapshot.Host{Hostname: "crowd", Namespace: snapshot.Namespace{ID: snapshot.None, Links: []snapshot.Link{
		{Index: 2, Name: "enp0s31f6", Kind: "device", Up: true, MTU: 1500, Addrs: prefixes("203.0.113.200/24"), LowerIn: snapshot.None},
		{Index: 3, Name: "fairway0", Kind: "bridge", Up: true, MTU: 1500, Addrs: prefixes("172.17.0.1/16", "fd12:3456:789a:bcde:f012:3456:789a:1/64"), LowerIn: snapshot.None},
	}, Routes: []snapshot.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("203.0.113.1"), Link: 2, Kind: "unicast"}}}},
		Networks: []topology.Network{{Name: "bridge", Type: "bridge", Link: "fairway0", Marks: []string{topology.Masquerade}}},
	}
	for i := 1; i <= 30; i++ {
		path, id := fmt.Sprintf("/run/netns/n%d", i), fmt.Sprintf("%02x%062x", i, 0)
		f.Host.Links = append(f.Host.Links, hostEnd(100+i, fmt.Sprintf("veth%011d", i), i, 3))
		f.Host.Others = append(f.Host.Others, container(i, path, 100+i,
			fmt.Sprintf("172.17.0.%d/16", i+1), fmt.Sprintf("fd12:3456:789a:bcde:f012:3456:789a:%x/64", i+1)))
		a := topology.Attachment{Network: "bridge", ID: id, IfName: "eth0", Netns: path}
		if i%3 != 0 {
			a.Name = fmt.Sprintf("shop-%d", i)
		}
		f.Attachments = append(f.Attachments, a)
	}
	return f
}

// town is a host with containers spread over bridges, a third of them on two of these.
func town(containers, bridges int) topology.Facts {
	none := snapshot.None
	f := facts{Facts: topology.Facts{Host: snapshot.Host{Hostname: "town", Namespace: snapshot.Namespace{ID: none, Links: []snapshot.Link{
		{Index: 2, Name: "eth0", Kind: "device", Up: true, MTU: 1500, Addrs: prefixes("192.0.2.10/24"), LowerIn: none},
	}, Routes: []snapshot.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.1"), Link: 2, Kind: "unicast"}}}}}}
	names := []string{"lamp", "shop", "backend", "cache", "queue", "mail", "metrics", "build", "test", "vault"}
	for b := range bridges {
		link := fmt.Sprintf("br-%s", names[b])
		f.Host.Links = append(f.Host.Links, snapshot.Link{Index: 10 + b, Name: link, Kind: "bridge", Up: true, MTU: 1500,
			Addrs: prefixes(fmt.Sprintf("10.%d.0.1/16", 10+b)), LowerIn: none})
		n := topology.Network{Name: names[b], Type: "bridge", Link: link, Defined: true, Marks: []string{topology.Masquerade}}
		switch b % 4 {
		case 2:
			n.Marks = []string{topology.Internal}
		case 3:
			n.Marks = append(n.Marks, topology.Isolated, topology.NoICC)
		}
		f.Networks = append(f.Networks, n)
	}
	for i := range containers {
		var ends []int
		for _, b := range []int{i % bridges, (i + 1) % bridges} {
			if len(ends) == 0 || i%3 == 0 && bridges > 1 {
				ends = append(ends, b)
			}
		}
		f.populate(i, ends, names)
	}
	return f.Facts
}

type facts struct{ topology.Facts }

// populate adds a container with an interface on each of some bridges.
func (f *facts) populate(i int, bridges []int, names []string) {
	path := fmt.Sprintf("/run/netns/c%d", i)
	ns := snapshot.Namespace{ID: i, Paths: []string{path}}
	for n, b := range bridges {
		index, ifname := 1000+10*i+n, fmt.Sprintf("eth%d", n)
		ns.Links = append(ns.Links, snapshot.Link{Index: 2 + n, Name: ifname, Kind: "veth", Up: true, MTU: 1500, Lower: index,
			Addrs: prefixes(fmt.Sprintf("10.%d.%d.%d/16", 10+b, (i+2)/250, (i+2)%250)), LowerIn: 0})
		end := hostEnd(index, fmt.Sprintf("veth%06d%d", i, n), i, 10+b)
		end.Lower = 2 + n
		f.Host.Links = append(f.Host.Links, end)
		f.Attachments = append(f.Attachments, topology.Attachment{Network: names[b], ID: fmt.Sprintf("c%d", i),
			Name: fmt.Sprintf("%s-%d", names[b], i), IfName: ifname, Netns: path})
	}
	f.Host.Others = append(f.Host.Others, ns)
}

// hostile is a host with names that would break out of a drawing.
func hostile() topology.Facts {
	f := crowd()
	f.Host.Links, f.Host.Others, f.Host.Hostname = f.Host.Links[:4], f.Host.Others[:2], "<host>&\"'"
	f.Attachments[0].Name = "\x1b[31m\"><script>alert(1)</script>\n]]>\u202e\xff"
	f.Attachments[1].Name = "\\\"]; evil [label=\"x"
	return f
}

func bare() topology.Facts {
	return topology.Facts{Host: snapshot.Host{Hostname: "bare", Namespace: snapshot.Namespace{ID: snapshot.None}}}
}

func TestBuild(t *testing.T) {
	for name, facts := range map[string]topology.Facts{"office": office(), "crowd": crowd(), "hostile": hostile(), "bare": bare(),
		"town3": town(3, 1), "town24": town(24, 3), "town200": town(200, 10)} {
		t.Run(name, func(t *testing.T) {
			got, err := json.MarshalIndent(topology.Build(facts), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden.Compare(t, name+".json", string(got)+"\n")
		})
	}
}

// The kernel and the cache list things in any order.
func TestBuildOfShuffledFacts(t *testing.T) {
	want := topology.Build(office())
	for range 20 {
		f := office()
		shuffle(f.Host.Links)
		shuffle(f.Host.Others)
		shuffle(f.Host.Forwards)
		shuffle(f.Host.Neighbours)
		shuffle(f.Networks)
		shuffle(f.Attachments)
		exact := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
		if diff := cmp.Diff(want, topology.Build(f), exact); diff != "" {
			t.Fatalf("another picture (-want +got):\n%s", diff)
		}
	}
}

func shuffle[T any](s []T) {
	rand.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
}

// TestBuildEncrypted: the device of an encrypted network is known by the kernel, as the file of one that a node agent attends to has no
// VNI; not the spare one, which is there while a key is replaced.
func TestBuildEncrypted(t *testing.T) {
	alias := "fairway-overlay secret"
	host := snapshot.Host{Hostname: "h", Namespace: snapshot.Namespace{Links: []snapshot.Link{
		{Index: 7, Name: "fwwgs43", Alias: alias, Kind: "wireguard", Up: true}, {Index: 8, Name: "fwwg43", Alias: alias, Kind: "tuntap", Up: true},
		{Index: 9, Name: "fwwg44", Alias: "fairway-overlay other", Kind: "wireguard", Up: true},
	}}}
	g := topology.Build(topology.Facts{Host: host, Networks: []topology.Network{{Name: "secret", Type: "overlay-vxlan", Link: "fwwg0", Marks: []string{topology.Encrypted}}}})
	for _, n := range g.Nodes {
		want := n.Name == "fwwg43"
		if is := slices.Contains(n.Marks, topology.Encrypted) && slices.Contains(n.Networks, "secret"); is != want {
			t.Errorf("%s: of networks %v, marks %v", n.Name, n.Networks, n.Marks)
		}
	}
	if len(g.Nodes) != 3 || len(g.Networks) != 1 || !slices.Contains(g.Networks[0].Marks, topology.Encrypted) {
		t.Errorf("%+v", g)
	}
}
