package plugins

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// underlay is the network between the hosts of a test: a switch, with a router that is the outside.
type underlay struct {
	*testnet.Namespace
	v6 bool // the VTEPs' family
}

// newUnderlay makes a switch whose own addresses are 192.0.2.1 and 2001:db8::1.
func newUnderlay(t *testing.T, v6 bool) underlay {
	t.Helper()
	u := underlay{testnet.NewNS(t, "underlay"), v6}
	u.Sh(t, "ip", "link", "add", "sw", "type", "bridge")
	u.Sh(t, "ip", "link", "set", "sw", "up")
	u.Sh(t, "ip", "addr", "add", "192.0.2.1/24", "dev", "sw")
	u.Sh(t, "ip", "addr", "add", "2001:db8::1/64", "dev", "sw", "nodad")
	return u
}

// vtep is the address of the n-th host on the underlay.
func (u underlay) vtep(n int) string {
	if u.v6 {
		return fmt.Sprintf("2001:db8::%d", 10+n)
	}
	return fmt.Sprintf("192.0.2.%d", 10+n)
}

// host makes the n-th host, with an address of each family and default routes to the outside.
func (u underlay) host(t *testing.T, n int) *testnet.Namespace {
	t.Helper()
	host := testnet.NewNS(t, fmt.Sprintf("h%d", n))
	port := fmt.Sprintf("port%d", n)
	host.Sh(t, "ip", "link", "set", "lo", "up")
	host.Sh(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", port)
	host.Sh(t, "ip", "link", "set", port, "netns", u.Path)
	u.Sh(t, "ip", "link", "set", port, "up", "master", "sw")
	host.Sh(t, "ip", "link", "set", "eth0", "up")
	host.Sh(t, "ip", "addr", "add", fmt.Sprintf("192.0.2.%d/24", 10+n), "dev", "eth0")
	host.Sh(t, "ip", "addr", "add", fmt.Sprintf("2001:db8::%d/64", 10+n), "dev", "eth0", "nodad")
	host.Sh(t, "ip", "route", "add", "default", "via", "192.0.2.1")
	host.Sh(t, "ip", "-6", "route", "add", "default", "via", "2001:db8::1")
	return host
}

// peers are the entries of hosts 1 to count: the n-th has 10.42.n.0/24 and fd42:0:0:n::/64.
func (u underlay) peers(count int) (list []map[string]any) {
	for n := 1; n <= count; n++ {
		list = append(list, map[string]any{
			"vtep": u.vtep(n), "subnets": []string{fmt.Sprintf("10.42.%d.0/24", n), fmt.Sprintf("fd42:0:0:%d::/64", n)},
		})
	}
	return list
}

// overlayOn is an attachment to a dual-stack network called net of two hosts, on the n-th of them.
func overlayOn(t *testing.T, u underlay, host, container *testnet.Namespace) attachment {
	t.Helper()
	a := attachment{
		host: host, plugin: "overlay-vxlan", env: map[string]string{"CNI_PATH": binDir},
		conf: map[string]any{
			"cniVersion": "1.1.0", "name": "net", "type": "overlay-vxlan", "vni": 4096,
			"subnets": []string{"10.42.0.0/16", "fd42::/48"}, "ipMasq": true, "peers": u.peers(2),
			"ipam": map[string]any{"dataDir": t.TempDir()},
		},
	}
	return a.on(container, "eth0")
}

// addressesOf are a result's addresses.
func addressesOf(t *testing.T, result *types100.Result) (v4, v6 string) {
	t.Helper()
	for _, ip := range result.IPs {
		addr, _ := netip.AddrFromSlice(ip.Address.IP)
		if addr = addr.Unmap(); addr.Is4() {
			v4 = addr.String()
		} else {
			v6 = addr.String()
		}
	}
	return v4, v6
}

// wantNothing expects that nothing of the network is left on its host.
func wantNothing(t *testing.T, a attachment) {
	t.Helper()
	for _, shown := range []string{
		a.host.Sh(t, "ip", "link"), a.host.Sh(t, "ip", "route"), a.host.Sh(t, "ip", "-6", "route"),
		elements(a.host.Sh(t, "nft", "list", "ruleset")),
	} {
		for _, left := range []string{"fwvx", "veth", "10.42.", "fd42:", "comment"} {
			if strings.Contains(shown, left) {
				t.Errorf("%q is left behind in\n%s", left, shown)
			}
		}
	}
	if left := a.reservations(t); left != nil {
		t.Errorf("reservations left behind: %v", left)
	}
}

func TestOverlay(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		t.Run(strings.Replace(fmt.Sprint("underlay6=", v6), "=", "-", 1), func(t *testing.T) {
			u := newUnderlay(t, v6)
			h1, h2 := u.host(t, 1), u.host(t, 2)
			c1, c2 := testnet.NewNS(t, "c1"), testnet.NewNS(t, "c2")
			first, second := overlayOn(t, u, h1, c1), overlayOn(t, u, h2, c2)
			first = first.after(first.add(t))
			result := second.add(t)
			v4, v6 := addressesOf(t, result)
			reaches(t, c1, v4, v6, "192.0.2.1", "2001:db8::1")
			first.succeed(t, "CHECK")
			second.after(result).succeed(t, "CHECK")
			first.succeed(t, "STATUS")
			for range 2 {
				first.succeed(t, "DEL")
			}
			shown := h1.Sh(t, "ip", "link")
			if !strings.Contains(shown, "fwvx4096") || strings.Contains(shown, "veth") {
				t.Errorf("after DEL of the last container:\n%s", shown)
			}
			first.gcCall().with("cni.dev/valid-attachments", alive()).succeed(t, "GC")
			wantNothing(t, first)
		})
	}
}
