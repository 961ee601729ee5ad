package plugins

import (
	"encoding/binary"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// advertise sends router advertisements of fd99::/64, and of the sender as a router, from a link for as long as the test goes on.
func advertise(t *testing.T, from *testnet.Namespace, link string) {
	t.Helper()
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		stopped <- from.Do(func() error {
			for {
				if err := sendAdvertisement(link); err != nil {
					return err
				}
				select {
				case <-stop:
					return nil
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}()
	t.Cleanup(func() {
		close(stop)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

// sendAdvertisement sends one of RFC 4861, 4.2, with the prefix information of 4.6.2.
func sendAdvertisement(link string) error {
	index, err := net.InterfaceByName(link)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255); err != nil {
		return err
	}
	message := []byte{134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0} // router for 1800 s
	prefix := []byte{3, 4, 64, 0xc0}                                           // on the link, for addresses
	prefix = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(prefix, 3600), 3600)
	prefix = append(append(prefix, 0, 0, 0, 0), net.ParseIP("fd99::").To16()...)
	to := &unix.SockaddrInet6{ZoneId: uint32(index.Index), Addr: [16]byte{0: 0xff, 1: 0x02, 15: 1}}
	err = unix.Sendto(fd, append(message, prefix...), 0, to)
	if err == unix.EADDRNOTAVAIL || err == unix.ENETUNREACH {
		return nil // the link has no address yet
	}
	return err
}

// TestAdvertisementsBesideAddresses: whoever sends router advertisements on the segment, be it another container, a container has the
// addresses and the default routes that it was given, unless the network asks for more.
func TestAdvertisementsBesideAddresses(t *testing.T) {
	bridge := func(t *testing.T) attachment {
		a := bridgeOn(t, testnet.NewNS(t, "c"))
		router := a.on(testnet.NewNS(t, "router"), "eth0")
		router.add(t)
		advertise(t, &testnet.Namespace{Path: router.env["CNI_NETNS"]}, "eth0")
		return a
	}
	macvlan := func(t *testing.T) attachment {
		a, l := macvlanOn(t, testnet.NewNS(t, "c"))
		advertise(t, l.machine, "switch")
		return a
	}
	for name, on := range map[string]func(*testing.T) attachment{"bridge": bridge, "macvlan": macvlan} {
		for _, tt := range []struct {
			name  string
			with  func(attachment) attachment
			wants bool
		}{
			{"of both families", func(a attachment) attachment {
				return a.with("ipam", hostLocal(t.TempDir(), "10.1.0.0/24", "fd01::/64"))
			}, false},
			{"of IPv4", func(a attachment) attachment { return a.with("ipam", hostLocal(t.TempDir(), "10.1.0.0/24")) }, false},
			{"asked for", func(a attachment) attachment { return a.with("acceptRA", true) }, true},
			{"of layer 2", func(a attachment) attachment { return a.with("ipam", nil).with("isDefaultGateway", nil) }, true},
		} {
			t.Run(name+" "+tt.name, func(t *testing.T) {
				a := tt.with(on(t))
				a.add(t)
				container := &testnet.Namespace{Path: a.env["CNI_NETNS"]}
				has := func() bool {
					return strings.Contains(container.Sh(t, "ip", "-6", "addr", "show", "dev", "eth0"), "fd99:") &&
						strings.Contains(container.Sh(t, "ip", "-6", "route"), "proto ra")
				}
				if tt.wants {
					for deadline := time.Now().Add(time.Minute); !has() && time.Now().Before(deadline); {
						time.Sleep(10 * time.Millisecond)
					}
				} else {
					time.Sleep(500 * time.Millisecond) // two dozen advertisements
				}
				if got := has(); got != tt.wants {
					t.Errorf("autoconfigured %t, want %t:\n%s%s", got, tt.wants,
						container.Sh(t, "ip", "-6", "addr", "show", "dev", "eth0"), container.Sh(t, "ip", "-6", "route"))
				}
			})
		}
	}
}

// TestHostKeepsItsRouter: the host has its own IPv6 default route by router advertisements. The ADD that lets it forward says what it
// changes, and the route stays; one that changes nothing is silent.
func TestHostKeepsItsRouter(t *testing.T) {
	for name, on := range everyPlugin() {
		if name != "bridge" && name != "overlay-vxlan" {
			continue // the others forward nothing
		}
		t.Run(name, func(t *testing.T) {
			a := on(t)
			if name == "bridge" {
				a = a.with("ipam", hostLocal(t.TempDir(), "10.1.0.0/24", "fd01::/64"))
			}
			router := testnet.NewNS(t, "router")
			a.host.Sh(t, "ip", "link", "add", "up0", "type", "veth", "peer", "name", "lan", "netns", router.Path)
			router.Sh(t, "ip", "link", "set", "lan", "up")
			a.host.Sh(t, "ip", "link", "set", "up0", "up")
			advertise(t, router, "lan")
			byRouter := func() bool {
				return strings.Contains(a.host.Sh(t, "ip", "-6", "route", "show", "default"), "dev up0 proto ra")
			}
			for deadline := time.Now().Add(time.Minute); !byRouter() && time.Now().Before(deadline); {
				time.Sleep(10 * time.Millisecond)
			}
			got := a.run(t, "ADD")
			if got.code != 0 || !strings.Contains(got.stderr, "net.ipv6.conf.up0.accept_ra=2") {
				t.Fatalf("exit status %d, %s%s", got.code, got.stdout, got.stderr)
			}
			if !byRouter() {
				t.Errorf("the host has lost its default route: %s", a.host.Sh(t, "ip", "-6", "route"))
			}
			if got := a.on(testnet.NewNS(t, "d"), "eth0").run(t, "ADD"); got.code != 0 || got.stderr != "" {
				t.Errorf("the next ADD: exit status %d, %s", got.code, got.stderr)
			}
		})
	}
}
