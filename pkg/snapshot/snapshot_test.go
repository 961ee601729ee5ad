package snapshot_test

import (
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/snapshot"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestMain(m *testing.M) { testnet.Run(m) }

// ip runs ip commands on the test's host, one a line.
func ip(t *testing.T, commands string) {
	t.Helper()
	for _, line := range strings.Split(strings.TrimSpace(commands), "\n") {
		testnet.Sh(t, "ip", strings.Fields(line)...)
	}
}

func read(t *testing.T, paths ...string) snapshot.Host {
	t.Helper()
	h, err := snapshot.Read(paths)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func link(t *testing.T, n snapshot.Namespace, name string) snapshot.Link {
	t.Helper()
	l, ok := n.Link(name)
	if !ok {
		t.Fatalf("no link %s in %+v", name, n.Links)
	}
	return l
}

func TestBridgeAndVeth(t *testing.T) {
	testnet.NewHost(t)
	c := testnet.NewNS(t, "c")
	ip(t, `
		link add br0 up type bridge
		addr add 10.9.0.1/24 dev br0
		link add v0 type veth peer name eth0 netns `+c.Path[len("/run/netns/"):]+`
		link set v0 up master br0
		link set br0 mtu 1400`)
	testnet.Sh(t, "ip", "link", "set", "v0", "alias", "fairway net c eth0")
	testnet.Sh(t, "bridge", "link", "set", "dev", "v0", "isolated", "on")
	c.Sh(t, "ip", "addr", "add", "10.9.0.2/24", "dev", "eth0")
	c.Sh(t, "ip", "link", "set", "eth0", "up")
	c.Sh(t, "ip", "route", "add", "default", "via", "10.9.0.1")

	h := read(t)
	br0, v0 := link(t, h.Namespace, "br0"), link(t, h.Namespace, "v0")
	if want := netip.MustParsePrefix("10.9.0.1/24"); br0.Kind != "bridge" || br0.MTU != 1400 || !slices.Equal(br0.Global(), []netip.Prefix{want}) {
		t.Errorf("br0 = %+v", br0)
	}
	if v0.Master != br0.Index || !v0.Isolated || !v0.Owned() || !v0.Up {
		t.Errorf("v0 = %+v", v0)
	}
	ns, ok := h.At(c.Path)
	if !ok || ns.ID != v0.LowerIn {
		t.Fatalf("v0 refers to namespace %d; found %+v", v0.LowerIn, h.Others)
	}
	eth0, ok := ns.LinkAt(v0.Lower)
	if !ok || eth0.Name != "eth0" || eth0.Lower != v0.Index {
		t.Errorf("other end of v0: %+v", eth0)
	}
	if routes := ns.Defaults(); len(routes) != 1 || routes[0].Via != netip.MustParseAddr("10.9.0.1") || routes[0].Link != eth0.Index {
		t.Errorf("default routes of the container: %+v", routes)
	}
}

func TestMacvlanOfContainer(t *testing.T) {
	testnet.NewHost(t)
	c, stranger := testnet.NewNS(t, "c"), testnet.NewNS(t, "stranger")
	ip(t, `
		link add up0 type veth peer name far0
		link add link up0 name m0 type macvlan mode private
		link set m0 netns `+c.Path[len("/run/netns/"):])
	h := read(t)
	ns, ok := h.At(c.Path)
	if !ok {
		t.Fatalf("the container was not found: %+v", h.Others)
	}
	m0 := link(t, ns, "m0")
	if m0.Kind != "macvlan" || m0.Mode != "private" || m0.Lower != link(t, h.Namespace, "up0").Index || m0.LowerIn == snapshot.None {
		t.Errorf("m0 = %+v", m0)
	}
	if _, ok := h.At(stranger.Path); ok {
		t.Error("a namespace that is not connected was read")
	}
	if _, ok := read(t, stranger.Path, "/run/netns/gone", "/etc/passwd").At(stranger.Path); !ok {
		t.Error("a namespace that the caller knows was not read")
	}
}

func TestVXLAN(t *testing.T) {
	testnet.NewHost(t)
	ip(t, `
		link add up0 up type veth peer name far0
		addr add 192.0.2.10/24 dev up0
		link set far0 up
		route add default via 192.0.2.1 dev up0
		link add fwvx7 type vxlan id 7 local 192.0.2.10 dev up0 dstport 4789 nolearning
		link set fwvx7 up
		route add 10.42.2.0/24 via 10.42.2.0 dev fwvx7 onlink
		route add unreachable 10.42.1.0/24
		neigh add 10.42.2.0 lladdr 02:00:00:00:00:02 dev fwvx7 nud permanent`)
	testnet.Sh(t, "bridge", "fdb", "append", "02:00:00:00:00:02", "dev", "fwvx7", "dst", "192.0.2.11")

	h := read(t)
	up0, vx := link(t, h.Namespace, "up0"), link(t, h.Namespace, "fwvx7")
	if want := (snapshot.VXLAN{VNI: 7, Local: netip.MustParseAddr("192.0.2.10"), Port: 4789}); vx.VXLAN != want || vx.Lower != up0.Index {
		t.Errorf("fwvx7 = %+v", vx)
	}
	wantRoutes := []snapshot.Route{
		{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.1"), Link: up0.Index, Kind: "unicast", Protocol: 3},
		{Dst: netip.MustParsePrefix("10.42.1.0/24"), Kind: "unreachable", Protocol: 3},
		{Dst: netip.MustParsePrefix("10.42.2.0/24"), Via: netip.MustParseAddr("10.42.2.0"), Link: vx.Index, Kind: "unicast", Protocol: 3},
	}
	var got []snapshot.Route
	for _, r := range h.Routes {
		if r.Dst.Addr().Is4() && r.Protocol != 2 {
			got = append(got, r)
		}
	}
	exact := []cmp.Option{
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	}
	if diff := cmp.Diff(wantRoutes, got, exact...); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	neighbours := []snapshot.Neighbour{{Link: vx.Index, Addr: netip.MustParseAddr("10.42.2.0"), MAC: "02:00:00:00:00:02"}}
	if diff := cmp.Diff(neighbours, h.Neighbours, exact...); diff != "" {
		t.Errorf("neighbours (-want +got):\n%s", diff)
	}
	forwards := []snapshot.Forward{{Link: vx.Index, MAC: "02:00:00:00:00:02", To: netip.MustParseAddr("192.0.2.11")}}
	if diff := cmp.Diff(forwards, h.Forwards, exact...); diff != "" {
		t.Errorf("forwarding entries (-want +got):\n%s", diff)
	}
}

// A container of no runtime that binds its namespace is found by its process.
func TestNamespaceOfProcess(t *testing.T) {
	testnet.NewHost(t)
	sleep := exec.Command("unshare", "--net", "--", "cat")
	stdin, err := sleep.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := sleep.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close() // ends cat
		if err := sleep.Wait(); err != nil {
			t.Error(err)
		}
	})
	// The answer of cat says that it is in its namespace.
	if _, err := stdin.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	pid := sleep.Process.Pid
	ip(t, "link add v0 type veth peer name eth0")
	testnet.Sh(t, "ip", "link", "set", "eth0", "netns", strconv.Itoa(pid))
	h := read(t)
	if len(h.Others) != 1 || h.Others[0].Process != "cat "+strconv.Itoa(pid) {
		t.Fatalf("found %+v, want the namespace of process %d", h.Others, pid)
	}
	link(t, h.Others[0], "eth0")
}
