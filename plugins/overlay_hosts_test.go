package plugins

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestOverlayOfThreeHosts: the third joins by being listed, and goes from the others' kernels when it is not.
func TestOverlayOfThreeHosts(t *testing.T) {
	u := newUnderlay(t, false)
	h1, h2, h3 := u.host(t, 1), u.host(t, 2), u.host(t, 3)
	c1, c2, c3 := testnet.NewNS(t, "c1"), testnet.NewNS(t, "c2"), testnet.NewNS(t, "c3")
	first := overlayOn(t, u, h1, c1)
	second := overlayOn(t, u, h2, c2)
	first = first.after(first.add(t))
	v4, v6 := addressesOf(t, second.add(t))
	reaches(t, c1, v4, v6)

	joined := first.with("peers", u.peers(3))
	third := overlayOn(t, u, h3, c3).with("peers", u.peers(3))
	v4, v6 = addressesOf(t, third.add(t))
	joined.succeed(t, "CHECK")
	reaches(t, c1, v4, v6)
	first.succeed(t, "CHECK")
	for _, shown := range []string{
		h1.Sh(t, "ip", "route"), h1.Sh(t, "ip", "-6", "route"), h1.Sh(t, "ip", "neigh", "show", "dev", "fwvx4096"), h1.Sh(t, "bridge", "fdb"), h1.Sh(t, "nft", "list", "ruleset"),
	} {
		for _, left := range []string{"10.42.3.0", "fd42:0:0:3::", "192.0.2.13"} {
			if strings.Contains(shown, left+" ") {
				t.Errorf("%s is left in\n%s", left, shown)
			}
		}
	}
	reachesNot(t, c1, v4, v6)
}

// TestOverlayRepairs: what was removed by hand is back after the next CHECK, and the next ADD.
func TestOverlayRepairs(t *testing.T) {
	u := newUnderlay(t, false)
	h1, h2 := u.host(t, 1), u.host(t, 2)
	c1, c2, c3 := testnet.NewNS(t, "c1"), testnet.NewNS(t, "c2"), testnet.NewNS(t, "c3")
	first := overlayOn(t, u, h1, c1)
	first = first.after(first.add(t))
	v4, v6 := addressesOf(t, overlayOn(t, u, h2, c2).add(t))
	next := first.on(c3, "eth0").with("prevResult", nil)
	for _, change := range []string{
		"ip link del fwvx4096", "ip route del 10.42.2.0/24", "ip neigh del 10.42.2.0 dev fwvx4096",
		"bridge fdb del $(bridge fdb show dev fwvx4096 | cut -d' ' -f1) dev fwvx4096", "nft flush ruleset",
	} {
		for verb, repair := range map[string]func(){
			"CHECK": func() { first.succeed(t, "CHECK") },
			"ADD":   func() { next.add(t); next.succeed(t, "DEL") },
		} {
			if strings.HasPrefix(change, "nft") && verb == "ADD" {
				continue // the first container's masquerade is its own: CHECK reports it
			}
			if strings.HasPrefix(change, "nft") {
				h1.Sh(t, "sh", "-c", "nft flush set inet fairway peers4")
			} else {
				h1.Sh(t, "sh", "-c", change)
			}
			repair()
			reaches(t, c1, v4, v6)
			if t.Failed() {
				t.Fatalf("after %q and %s", change, verb)
			}
		}
	}
	// What is the container's is reported, and not repaired.
	h1.Sh(t, "ip", "route", "del", v4Of(t, first)+"/32")
	if sentence := first.fail(t, "CHECK", 100); !strings.Contains(sentence, "no route to "+v4Of(t, first)+"/32 through veth") {
		t.Errorf("sentence: %s", sentence)
	}
}

// v4Of is the container's address in the result that an attachment has.
func v4Of(t *testing.T, a attachment) string {
	t.Helper()
	var result struct {
		IPs []struct{ Address netip.Prefix }
	}
	text, err := json.Marshal(a.conf["prevResult"])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &result); err != nil {
		t.Fatal(err)
	}
	return result.IPs[0].Address.Addr().String()
}

// TestOverlayStranger: a host that is no peer sends packets as a peer would. None reaches a container, until it is one.
func TestOverlayStranger(t *testing.T) {
	u := newUnderlay(t, false)
	h1, h3 := u.host(t, 1), u.host(t, 3)
	c1, c3 := testnet.NewNS(t, "c1"), testnet.NewNS(t, "c3")
	first := overlayOn(t, u, h1, c1)
	first = first.after(first.add(t))
	target := netip.MustParseAddr(v4Of(t, first)).AsSlice()
	// The stranger believes that it is a peer.
	overlayOn(t, u, h3, c3).with("peers", u.peers(3)).add(t)
	wire, inside := h1.Capture(t, "eth0"), c1.Capture(t, "eth0")
	isForIt := func(frame []byte) bool {
		return len(frame) > 34 && bytes.Equal(frame[12:14], []byte{8, 0}) && frame[23] == unix.IPPROTO_ICMP && bytes.Equal(frame[30:34], target)
	}
	isVXLAN := func(frame []byte) bool {
		return len(frame) > 38 && bytes.Equal(frame[36:38], []byte{4789 >> 8, 4789 & 0xff})
	}
	const patience = 20 * time.Second
	reachesNot(t, c3, v4Of(t, first))
	if !wire.Await(t, patience, isVXLAN) {
		t.Fatal("the stranger sent nothing")
	}
	if inside.Await(t, time.Second, isForIt) {
		t.Error("a stranger's packet has reached the container")
	}
	first.with("peers", u.peers(3)).succeed(t, "CHECK")
	reaches(t, c3, v4Of(t, first))
	if !inside.Await(t, patience, isForIt) {
		t.Error("a peer's packet has not reached the container")
	}
}

// second is another network on the host and container of an attachment.
func second(a attachment, u underlay, container *testnet.Namespace) attachment {
	peers := []map[string]any{
		{"vtep": u.vtep(1), "subnets": []string{"10.43.1.0/24"}}, {"vtep": u.vtep(2), "subnets": []string{"10.43.2.0/24"}},
	}
	return a.with("name", "shop").with("vni", 4097).with("subnets", []string{"10.43.0.0/16"}).with("peers", peers).on(container, "eth0")
}

// TestOverlayIsolation: two networks on the same hosts do not reach each other, on one host nor across hosts, unless both
// let it be.
func TestOverlayIsolation(t *testing.T) {
	u := newUnderlay(t, false)
	h1, h2 := u.host(t, 1), u.host(t, 2)
	c1, s1, s2 := testnet.NewNS(t, "c1"), testnet.NewNS(t, "s1"), testnet.NewNS(t, "s2")
	a1 := overlayOn(t, u, h1, c1)
	a2 := overlayOn(t, u, h2, c1)
	a1 = a1.after(a1.add(t))
	b1, b2 := second(a1, u, s1).with("prevResult", nil), second(a2, u, s2)
	b1 = b1.after(b1.add(t))
	b2 = b2.after(b2.add(t))
	reaches(t, s1, v4Of(t, b2))
	reachesNot(t, c1, v4Of(t, b1), v4Of(t, b2))
	reachesNot(t, s1, v4Of(t, a1))

	a1.with("isolated", false).succeed(t, "CHECK")
	reachesNot(t, c1, v4Of(t, b1))
	b1.with("isolated", false).succeed(t, "CHECK")
	reaches(t, c1, v4Of(t, b1))
	a1.succeed(t, "CHECK")
	reachesNot(t, c1, v4Of(t, b1))
}

// TestOverlayInternal has its own hosts and no other way.
func TestOverlayInternal(t *testing.T) {
	u := newUnderlay(t, false)
	h1, h2 := u.host(t, 1), u.host(t, 2)
	c1, c2 := testnet.NewNS(t, "c1"), testnet.NewNS(t, "c2")
	a1, a2 := overlayOn(t, u, h1, c1).with("internal", true), overlayOn(t, u, h2, c2).with("internal", true)
	a1 = a1.after(a1.add(t))
	v4, v6 := addressesOf(t, a2.add(t))
	reaches(t, c1, v4, v6)
	reachesNot(t, c1, "192.0.2.1", "2001:db8::1")
	for _, family := range []string{"-4", "-6"} {
		if routes := c1.Sh(t, "ip", family, "route"); strings.Contains(routes, "default") {
			t.Errorf("a default route:\n%s", routes)
		}
	}
	// Whoever sends to it from outside, or makes a default route, gets no further.
	u.Sh(t, "ip", "route", "add", "10.42.1.0/24", "via", "192.0.2.11")
	reachesNot(t, u.Namespace, v4Of(t, a1))
	c1.Sh(t, "ip", "route", "add", "default", "via", "10.42.1.0")
	reachesNot(t, c1, "192.0.2.1")
	a1.succeed(t, "CHECK")
}

// TestOverlayMasquerade: the outside sees the host, and hosts of the network the container.
func TestOverlayMasquerade(t *testing.T) {
	u := newUnderlay(t, false)
	h1, h2 := u.host(t, 1), u.host(t, 2)
	c1, c2 := testnet.NewNS(t, "c1"), testnet.NewNS(t, "c2")
	a1 := overlayOn(t, u, h1, c1)
	a1 = a1.after(a1.add(t))
	v4, _ := addressesOf(t, overlayOn(t, u, h2, c2).add(t))
	source := func(addr string) func([]byte) bool {
		want := netip.MustParseAddr(addr).AsSlice()
		return func(frame []byte) bool {
			return len(frame) > 30 && bytes.Equal(frame[12:14], []byte{8, 0}) && frame[23] == unix.IPPROTO_ICMP && bytes.Equal(frame[26:30], want)
		}
	}
	const patience = 20 * time.Second
	inside, outside := c2.Capture(t, "eth0"), u.Capture(t, "sw")
	reaches(t, c1, v4, "192.0.2.1")
	if !inside.Await(t, patience, source(v4Of(t, a1))) {
		t.Error("the other host's container has not seen the container's own address")
	}
	if !outside.Await(t, patience, source("192.0.2.11")) {
		t.Error("the outside has not seen the host's address")
	}
}

// TestOverlayUntracked: flows between containers leave no entries of VXLAN packets in the hosts' conntrack, and do without the rules.
func TestOverlayUntracked(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		t.Run(fmt.Sprintf("underlay6-%t", v6), func(t *testing.T) {
			u := newUnderlay(t, v6)
			h1, h2 := u.host(t, 1), u.host(t, 2)
			c1, c2 := testnet.NewNS(t, "c1"), testnet.NewNS(t, "c2")
			overlayOn(t, u, h1, c1).add(t)
			v4, _ := addressesOf(t, overlayOn(t, u, h2, c2).add(t))
			inside, err := netip.ParseAddr(v4)
			if err != nil {
				t.Fatal(err)
			}
			const flows = 200
			for range flows {
				if err := c1.Do(func() error { return statetest.Send(netip.AddrPortFrom(inside, 9).String()) }); err != nil {
					t.Fatal(err)
				}
			}
			reaches(t, c1, v4) // all have arrived
			for _, h := range []*testnet.Namespace{h1, h2} {
				if inner := tracked(t, h, "--orig-dst", v4); inner < flows/2 { // a port may come twice
					t.Errorf("%d entries of containers' flows: nothing is tracked", inner)
				}
				if outer := tracked(t, h, "-p", "udp", "--dport", "4789"); outer != 0 {
					t.Errorf("%d entries of VXLAN packets", outer)
				}
				for _, chain := range []string{"vxlan_untracked", "vxlan_untracked_in"} {
					h.Sh(t, "nft", "flush", "chain", "inet", "fairway", chain)
				}
			}
			reaches(t, c1, v4)
			for _, h := range []*testnet.Namespace{h1, h2} {
				if tracked(t, h, "-p", "udp", "--dport", "4789") == 0 {
					t.Error("no entry of a VXLAN packet without the rules: the test sees none")
				}
			}
		})
	}
}

// tracked counts entries of a host's conntrack.
func tracked(t *testing.T, host *testnet.Namespace, filter ...string) (count int) {
	t.Helper()
	for _, family := range []string{"ipv4", "ipv6"} {
		if net.ParseIP(filter[len(filter)-1]) != nil && family == "ipv6" {
			continue
		}
		count += strings.Count(host.Sh(t, "conntrack", append([]string{"-L", "-f", family}, filter...)...), "src=") / 2
	}
	return count
}

// TestOverlayPathMTU: the largest packet passes, and of one byte more the sender is told.
func TestOverlayPathMTU(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		t.Run(fmt.Sprintf("underlay6-%t", v6), func(t *testing.T) {
			u := newUnderlay(t, v6)
			h1, h2 := u.host(t, 1), u.host(t, 2)
			c1, c2 := testnet.NewNS(t, "c1"), testnet.NewNS(t, "c2")
			a1 := overlayOn(t, u, h1, c1)
			result := a1.add(t)
			v4, _ := addressesOf(t, overlayOn(t, u, h2, c2).add(t))
			mtu := 1450
			if v6 {
				mtu = 1430
			}
			for _, i := range result.Interfaces {
				if i.Mtu != mtu {
					t.Errorf("%s has MTU %d, want %d", i.Name, i.Mtu, mtu)
				}
			}
			// With links that carry more, the host has to say that the way does not.
			c1.Sh(t, "ip", "link", "set", "eth0", "mtu", "1500")
			h1.Sh(t, "ip", "link", "set", result.Interfaces[1].Name, "mtu", "1500")
			whole(t, c1, v4, mtu)
			_, err := testnet.SendWhole(c1, v4, mtu+1)
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("mtu %d", mtu)) {
				t.Errorf("a packet of %d bytes: %v, want an ICMP error with mtu %d", mtu+1, err, mtu)
			}
		})
	}
}

// whole expects an answer to a packet of a size that may not be fragmented.
func whole(t *testing.T, from *testnet.Namespace, to string, size int) {
	t.Helper()
	if answered, err := testnet.SendWhole(from, to, size); err != nil || !answered {
		t.Errorf("a packet of %d bytes: answered %t, %v", size, answered, err)
	}
}

// TestOverlayReboot: a host that comes back has the same MAC and the same blocks, so that its peers need not be told.
func TestOverlayReboot(t *testing.T) {
	u := newUnderlay(t, false)
	h1, h2 := u.host(t, 1), u.host(t, 2)
	c1, c2, c3 := testnet.NewNS(t, "c1"), testnet.NewNS(t, "c2"), testnet.NewNS(t, "c3")
	a1, a2 := overlayOn(t, u, h1, c1), overlayOn(t, u, h2, c2)
	a1.add(t)
	before := a2.add(t)
	h2.Sh(t, "sh", "-c", "for link in fwvx4096 $(ls /sys/class/net | grep veth); do ip link del $link; done; "+
		"ip route flush proto 250; ip -6 route flush proto 250; nft flush ruleset")
	after := a2.on(c3, "eth0").add(t)
	wantText(t, "MAC of the device", before.Interfaces[0].Mac, after.Interfaces[0].Mac)
	v4, v6 := addressesOf(t, after)
	reaches(t, c1, v4, v6)
}

// TestOverlayParallel: many first ADDs at once, of which one makes the network.
func TestOverlayParallel(t *testing.T) {
	u := newUnderlay(t, false)
	h1, h2 := u.host(t, 1), u.host(t, 2)
	outer := testnet.NewNS(t, "c0")
	far := overlayOn(t, u, h2, outer)
	v4, _ := addressesOf(t, far.add(t))
	const count = 12
	containers := make([]*testnet.Namespace, count)
	answers := make([]answer, count)
	a := overlayOn(t, u, h1, outer)
	var group sync.WaitGroup
	for i := range containers {
		containers[i] = testnet.NewNS(t, fmt.Sprintf("c%d", i+1))
		group.Go(func() { answers[i] = a.on(containers[i], "eth0").run(t, "ADD") })
	}
	group.Wait()
	for i, got := range answers {
		if got.code != 0 {
			t.Errorf("ADD %d: %s%s", i, got.stdout, got.stderr)
		}
		reaches(t, containers[i], v4)
	}
	group = sync.WaitGroup{}
	for i := range containers {
		group.Go(func() { answers[i] = a.on(containers[i], "eth0").run(t, "DEL") })
	}
	group.Wait()
	a.gcCall().with("cni.dev/valid-attachments", alive()).succeed(t, "GC")
	wantNothing(t, a)
}

// TestOverlayPeersFile: by hand, cut short, and without the host.
func TestOverlayPeersFile(t *testing.T) {
	u := newUnderlay(t, false)
	h1 := u.host(t, 1)
	c1 := testnet.NewNS(t, "c1")
	file := filepath.Join(t.TempDir(), "peers.json")
	a := overlayOn(t, u, h1, c1).with("peers", nil).with("peersFile", file)
	a.fail(t, "ADD", 5)
	write := func(document any) {
		text, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	network := map[string]any{"vni": 4096, "subnets": []string{"10.42.0.0/16", "fd42::/48"}}
	write(map[string]any{"network": network, "peers": u.peers(2)})
	// The file may have the network, too.
	a = a.with("vni", nil).with("subnets", nil)
	a = a.after(a.add(t))
	a.succeed(t, "CHECK")
	before := a.traces(t)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text[:len(text)-9], 0o644); err != nil {
		t.Fatal(err)
	}
	if sentence := a.fail(t, "CHECK", 6); !strings.Contains(sentence, fmt.Sprintf("key peersFile %q: not JSON at byte %d, perhaps cut short", file, len(text)-9)) {
		t.Errorf("sentence: %s", sentence)
	}
	a.wantUnchanged(t, before)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	a.succeed(t, "DEL")
	a.gcCall().with("cni.dev/valid-attachments", alive()).succeed(t, "GC")
	wantNothing(t, a)
}
