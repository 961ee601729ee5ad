package kernel_test

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// A link that is remembered is found although somebody else has deleted it, until it is asked for anew.
func TestLink(t *testing.T) {
	testnet.NewHost(t)
	k := open(t, testnet.NewNS(t, "c").Path)
	if _, err := k.Host.Link("br0"); !kernel.IsNotFound(err) {
		t.Errorf("before: %v, want that there is none", err)
	}
	testnet.Sh(t, "ip", "link", "add", "br0", "type", "bridge")
	link, err := k.Host.Link("br0")
	if err != nil {
		t.Fatal(err)
	}
	if at, err := k.Host.LinkAt(link.Attrs().Index); err != nil || at.Attrs().Name != "br0" {
		t.Errorf("by index: %v, error %v", at, err)
	}
	testnet.Sh(t, "ip", "link", "del", "br0")
	if _, err := k.Host.Link("br0"); err != nil {
		t.Errorf("remembered: %v", err)
	}
	if _, err := k.Host.LinkNow("br0"); !kernel.IsNotFound(err) {
		t.Errorf("now: %v, want that there is none", err)
	}
	if _, err := k.Host.Link("br0"); !kernel.IsNotFound(err) {
		t.Errorf("after: %v, want that there is none", err)
	}
	if _, err := k.Host.LinkAt(link.Attrs().Index); !kernel.IsNotFound(err) {
		t.Errorf("by index: %v, want that there is none", err)
	}
	if _, err := k.Container.Link("br0"); !kernel.IsNotFound(err) {
		t.Errorf("in the container: %v, want that there is none", err)
	}
}

// An alternative name is longer than the names that links have.
func TestLinkByAlternativeName(t *testing.T) {
	testnet.NewHost(t)
	testnet.Sh(t, "ip", "link", "add", "br0", "type", "bridge")
	for _, name := range []string{"another", "a-name-of-more-than-fifteen-bytes"} {
		testnet.Sh(t, "ip", "link", "property", "add", "dev", "br0", "altname", name)
		if link, err := open(t, "").Host.Link(name); err != nil || link.Attrs().Name != "br0" {
			t.Errorf("%s: %v, error %v", name, link, err)
		}
	}
}

// Whatever changes a link by a method, the link is seen as it is after it. Each test begins with a link that is remembered.
func TestLinkAfterChange(t *testing.T) {
	other := net.HardwareAddr{2, 0, 0, 0, 0, 7}
	for _, test := range []struct {
		name   string
		change func(k *kernel.Kernel, link netlink.Link) error
		// seen says whether the change is.
		seen func(*netlink.LinkAttrs) bool
	}{
		{"up", func(k *kernel.Kernel, l netlink.Link) error { return k.Host.LinkSetUp(l) },
			func(a *netlink.LinkAttrs) bool { return a.Flags&net.FlagUp != 0 }},
		{"address", func(k *kernel.Kernel, l netlink.Link) error { return k.Host.LinkSetHardwareAddr(l, other) },
			func(a *netlink.LinkAttrs) bool { return a.HardwareAddr.String() == other.String() }},
		{"MTU", func(k *kernel.Kernel, l netlink.Link) error { return k.Host.LinkSetMTU(l, 1400) },
			func(a *netlink.LinkAttrs) bool { return a.MTU == 1400 }},
		{"alias", func(k *kernel.Kernel, l netlink.Link) error { return k.Host.LinkSetAlias(l, "whose") },
			func(a *netlink.LinkAttrs) bool { return a.Alias == "whose" }},
		{"group", func(k *kernel.Kernel, l netlink.Link) error { return k.Host.LinkSetGroup(l, 7) },
			func(a *netlink.LinkAttrs) bool { return a.Group == 7 }},
		{"queue", func(k *kernel.Kernel, l netlink.Link) error { return k.Host.LinkSetTxQLen(l, 77) },
			func(a *netlink.LinkAttrs) bool { return a.TxQLen == 77 }},
		{"allmulticast", func(k *kernel.Kernel, l netlink.Link) error { return k.Host.LinkSetAllmulticastOn(l) },
			func(a *netlink.LinkAttrs) bool { return a.RawFlags&unix.IFF_ALLMULTI != 0 }},
		{"promiscuous", func(k *kernel.Kernel, l netlink.Link) error { return k.Host.SetPromiscOn(l) },
			func(a *netlink.LinkAttrs) bool { return a.RawFlags&unix.IFF_PROMISC != 0 }},
		{"port", func(k *kernel.Kernel, _ netlink.Link) error {
			bridge, err := k.Host.Link("br0")
			return errors.Join(err, k.RaisePort("v0", bridge.Attrs().Index, ""))
		}, func(a *netlink.LinkAttrs) bool { return a.MasterIndex != 0 }},
		{"another of the name", func(k *kernel.Kernel, l netlink.Link) error {
			return errors.Join(k.Host.LinkDel(l), k.AddVeth(kernel.VethPair{HostName: "v0", HostGroup: 9, In: k.Container, ContainerName: "eth0"}))
		}, func(a *netlink.LinkAttrs) bool { return a.Group == 9 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			testnet.NewHost(t)
			k := open(t, testnet.NewNS(t, "c").Path)
			testnet.Sh(t, "ip", "link", "add", "br0", "type", "bridge")
			if err := k.AddVeth(kernel.VethPair{HostName: "v0", In: k.Container, ContainerName: "eth0"}); err != nil {
				t.Fatal(err)
			}
			link, err := k.Host.Link("v0")
			if err != nil {
				t.Fatal(err)
			}
			if test.seen(link.Attrs()) {
				t.Fatal("before the change")
			}
			if err := test.change(k, link); err != nil {
				t.Fatal(err)
			}
			if link, err = k.Host.Link("v0"); err != nil || !test.seen(link.Attrs()) {
				t.Errorf("%+v, error %v", link, err)
			}
		})
	}
}

// With a link go others: the other end of a veth in the container.
func TestLinkAfterDeletion(t *testing.T) {
	testnet.NewHost(t)
	k := open(t, testnet.NewNS(t, "c").Path)
	if err := k.AddVeth(kernel.VethPair{HostName: "v0", In: k.Container, ContainerName: "eth0"}); err != nil {
		t.Fatal(err)
	}
	link, err := k.Host.Link("v0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Container.Link("eth0"); err != nil {
		t.Fatal(err)
	}
	if err := k.Host.LinkDel(link); err != nil {
		t.Fatal(err)
	}
	for n, name := range map[*kernel.Namespace]string{k.Host: "v0", k.Container: "eth0"} {
		if _, err := n.Link(name); !kernel.IsNotFound(err) {
			t.Errorf("%s: %v, want that there is none", name, err)
		}
	}
	if err := k.Host.LinkDel(link); !errors.Is(err, unix.ENODEV) {
		t.Errorf("again: %v, want ENODEV", err)
	}
}

// What a link was found with is not told when it has been set since.
func TestAcceptsRouters(t *testing.T) {
	t.Run("IPv6", func(t *testing.T) {
		testnet.NewHost(t)
		testnet.Sh(t, "ip", "link", "add", "br0", "type", "bridge")
		k := open(t, "")
		for _, value := range []string{"0", "2", "-1", "1"} {
			if err := k.Host.SetSysctl("net/ipv6/conf/br0/accept_ra", value); err != nil {
				t.Fatal(err)
			}
			for _, when := range []string{"nothing remembered", "remembered"} {
				if got, err := k.Host.AcceptsRouters("br0"); got != value || err != nil {
					t.Errorf("%s: %q, error %v, want %q", when, got, err, value)
				}
				if _, err := k.Host.LinkNow("br0"); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
	t.Run("without the link", func(t *testing.T) {
		testnet.NewHost(t)
		if _, err := open(t, "").Host.AcceptsRouters("none"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v, want that it is not there", err)
		}
	})
}

func TestLinkAnnounce(t *testing.T) {
	for ipv4, want := range map[bool]string{true: "1", false: "0"} {
		t.Run(want, func(t *testing.T) {
			testnet.NewHost(t)
			testnet.Sh(t, "ip", "link", "add", "d0", "address", "02:00:00:00:00:01", "up", "type", "veth", "peer", "name", "d1")
			k := open(t, "")
			link, err := k.Host.Link("d0")
			if err != nil {
				t.Fatal(err)
			}
			if err := k.Host.LinkAnnounce(link, ipv4); err != nil {
				t.Fatal(err)
			}
			if got, err := k.Host.Sysctl("net/ipv4/conf/d0/arp_notify"); got != want || err != nil {
				t.Errorf("arp_notify is %q, error %v, want %q", got, err, want)
			}
			if link, err = k.Host.Link("d0"); err != nil || link.Attrs().HardwareAddr.String() != "02:00:00:00:00:01" {
				t.Errorf("%+v, error %v", link, err)
			}
		})
	}
}

func TestRoutesTo(t *testing.T) {
	for _, test := range []struct{ name, dst, gateway, ip string }{
		{"default", "0.0.0.0/0", "192.0.2.2", "default via 192.0.2.2 dev d0 metric 5 mtu 1400 advmss 1300"},
		{"subnet", "198.51.100.0/24", "", "198.51.100.0/24 dev d0 scope link metric 5 mtu 1400 advmss 1300"},
		{"IPv6 default", "::/0", "fd99::2", "default via fd99::2 dev d0 metric 5 mtu 1400 advmss 1300"},
		{"IPv6 subnet", "fd98::/64", "", "fd98::/64 dev d0 metric 5 mtu 1400 advmss 1300"},
	} {
		t.Run(test.name, func(t *testing.T) {
			testnet.NewHost(t)
			testnet.Sh(t, "ip", "link", "add", "d0", "up", "type", "veth", "peer", "name", "d1")
			testnet.Sh(t, "ip", "link", "set", "d1", "up")
			testnet.Sh(t, "ip", "addr", "add", "192.0.2.1/24", "dev", "d0")
			dst, family := netip.MustParsePrefix(test.dst), "-4"
			if dst.Addr().Is6() {
				family = "-6"
				testnet.Sh(t, "ip", "addr", "add", "fd99::1/64", "dev", "d0", "nodad")
			}
			k := open(t, "")
			link, err := k.Host.Link("d0")
			if err != nil {
				t.Fatal(err)
			}
			route := netlink.Route{
				LinkIndex: link.Attrs().Index, Dst: &net.IPNet{IP: dst.Addr().AsSlice(), Mask: net.CIDRMask(dst.Bits(), dst.Addr().BitLen())},
				Gw: net.ParseIP(test.gateway), Priority: 5, MTU: 1400, AdvMSS: 1300, Table: 4711,
			}
			if test.gateway == "" {
				route.Scope = netlink.SCOPE_LINK
			}
			if err := k.Host.RouteAdd(&route); err != nil {
				t.Fatal(err)
			}
			if err := k.Host.RouteAdd(&route); !errors.Is(err, unix.EEXIST) {
				t.Errorf("again: %v, want EEXIST", err)
			}
			if got := testnet.Sh(t, "ip", family, "route", "show", "table", "4711"); !strings.Contains(strings.Join(strings.Fields(got), " "), test.ip) {
				t.Errorf("ip shows %q, want %q", got, test.ip)
			}
			for table, want := range map[int]int{unix.RT_TABLE_UNSPEC: 1, 4711: 1, unix.RT_TABLE_MAIN: 0} {
				got, err := k.Host.RoutesTo(dst, table)
				if err != nil || len(got) != want {
					t.Errorf("table %d: %v, error %v, want %d routes", table, got, err, want)
				}
				for _, r := range got {
					if r.LinkIndex != route.LinkIndex || r.Priority != 5 || r.MTU != 1400 || r.AdvMSS != 1300 || r.Table != 4711 || !r.Gw.Equal(route.Gw) {
						t.Errorf("%+v, want %+v", r, route)
					}
				}
			}
		})
	}
}
