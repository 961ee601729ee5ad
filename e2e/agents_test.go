package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/agentapi"
)

func overlayNet(name, subnet string) agentapi.Network {
	return agentapi.Network{Name: name, Subnets: []agentapi.Subnet{{Prefix: netip.MustParsePrefix(subnet)}}}
}

// The life of networks on three hosts, with an etcd of three members.
func TestThreeHosts(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, 3)
	c.start(t)
	h1, h2, h3 := c.hosts[0], c.hosts[1], c.hosts[2]
	blue := c.put(t, h1, agentapi.Network{Name: "blue", IPMasq: true, Subnets: []agentapi.Subnet{
		{Prefix: netip.MustParsePrefix("10.42.0.0/16")}, {Prefix: netip.MustParsePrefix("fd42::/64")},
	}})
	link := fmt.Sprintf("fwvx%d", blue.VNI)
	far := h2.address(t, "blue")
	for _, h := range c.hosts {
		for _, other := range c.hosts {
			h.ping(t, other.address(t, "blue"))
		}
	}

	t.Run("removed by hand", func(t *testing.T) { removedByHand(t, c, blue, link, far) })
	t.Run("in use", func(t *testing.T) { inUse(t, c) })
	t.Run("another block", func(t *testing.T) { anotherBlock(t, c) })
	t.Run("pin", func(t *testing.T) { pin(t, c) })
	t.Run("underlay address changed", func(t *testing.T) {
		if err := h3.Readdress(netip.MustParseAddr("192.0.2.33"), netip.MustParseAddr("2001:db8::33")); err != nil {
			t.Fatal(err)
		}
		for _, h := range c.hosts[:2] {
			eventually(t, h.Name+" follows", func() bool {
				fdb := h.try("bridge", "fdb", "show", "dev", link)
				return strings.Contains(fdb, "dst 192.0.2.33") && !strings.Contains(fdb, "dst 192.0.2.13")
			})
			h.ping(t, h3.address(t, "blue"))
			h3.ping(t, h.address(t, "blue"))
		}
	})
}

// What is removed of a network comes back: at once with an event of a link, else with the audit.
func removedByHand(t *testing.T, c *cluster, n agentapi.Network, link, far string) {
	h1 := c.hosts[0]
	remove := func(what, command string, args ...string) {
		t.Helper()
		h1.Sh(t, command, args...)
		eventually(t, what+" is back", func() bool {
			up := h1.try("ip", "link", "show", link)
			return strings.Contains(up, ",UP") && strings.Contains(up, "mtu 1450") &&
				strings.Contains(h1.try("ip", "neigh", "show", "dev", link), far+" lladdr") &&
				strings.Contains(h1.try("nft", "list", "chain", "inet", "fairway", "vxlan_input"), "jump")
		})
		c.awaitPeers(t, h1, n, 2)
		h1.ping(t, far)
	}
	remove("device", "ip", "link", "del", link)
	remove("device set down", "ip", "link", "set", link, "down")
	remove("MTU", "ip", "link", "set", link, "mtu", "1280")

	h1.kill(t)
	h1.flags["audit-interval"] = "2s"
	h1.start(t)
	peer := strings.Fields(h1.Sh(t, "bridge", "fdb", "show", "dev", link))
	remove("route", "ip", "route", "del", routeTo(t, h1, link, far))
	remove("neighbour", "ip", "neigh", "del", far, "dev", link)
	remove("FDB entry", "bridge", "fdb", "del", peer[0], "dev", link)
	remove("source filter", "nft", "flush", "chain", "inet", "fairway", "vxlan_input")
	h1.kill(t)
	h1.flags["audit-interval"] = "1h"
	h1.start(t)
}

// routeTo is the destination of the route to an address.
func routeTo(t *testing.T, h *member, link, addr string) string {
	t.Helper()
	for _, line := range strings.Split(h.Sh(t, "ip", "route", "show", "dev", link), "\n") {
		if strings.Contains(line, "via "+addr+" ") {
			return strings.Fields(line)[0]
		}
	}
	t.Fatalf("no route to %s through %s", addr, link)
	return ""
}

func awaitHealthy(t *testing.T, h *member) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := h.AwaitHealthy(ctx); err != nil {
		t.Fatal(err)
	}
}

func inUse(t *testing.T, c *cluster) {
	h1, h2 := c.hosts[0], c.hosts[1]
	c.put(t, h1, overlayNet("used", "10.45.0.0/16"))
	const addr = "10.45.0.9"
	h2.reserve(t, "used", addr)
	eventually(t, "h1 knows that h2 has containers", func() bool {
		peers, err := h1.Agent().Peers(t.Context(), "used")
		return err == nil && len(peers) == 3 && !peers[0].InUse && peers[1].InUse
	})
	err := h1.Agent().Delete(t.Context(), "used")
	if want := "network used is in use: remove its containers on host host2 first"; !errors.Is(err, agentapi.ErrInUse) || err.Error() != want {
		t.Errorf("delete: error %v, want %q", err, want)
	}
	if err := h2.Agent().Delete(t.Context(), "used"); !errors.Is(err, agentapi.ErrInUse) {
		t.Errorf("delete on the host itself: error %v, want one that is ErrInUse", err)
	}
	h2.release(t, "used", addr)
	eventually(t, "the network is deleted", func() bool { return h1.Agent().Delete(t.Context(), "used") == nil })
	for _, h := range c.hosts {
		eventually(t, h.Name+" has let go", func() bool {
			return !exists(h.conflist("used")) && !exists(filepath.Join(h.stateDir(), "networks", "used.json")) &&
				!strings.Contains(h.try("ip", "route"), "10.45.") && !strings.Contains(h.try("ip", "-d", "link"), "overlay used")
		})
	}
}

// A block of 10.46.0.0/24 has room for fifteen.
func anotherBlock(t *testing.T, c *cluster) {
	h1, h2 := c.hosts[0], c.hosts[1]
	c.put(t, h1, overlayNet("small", "10.46.0.0/24"))
	first := netip.MustParseAddr(h2.address(t, "small"))
	addr := first
	for range 13 {
		addr = addr.Next()
		h2.reserve(t, "small", addr.String())
	}
	blocks := func(h *member) (blocks []netip.Prefix) {
		peers, err := h.Agent().Peers(t.Context(), "small")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range peers {
			if p.Node == "host2" {
				blocks = p.Blocks
			}
		}
		return blocks
	}
	eventually(t, "h1 knows the second block of h2", func() bool { return len(blocks(h1)) == 2 })
	for _, b := range blocks(h1) {
		h1.ping(t, b.Addr().String())
	}
}

func pin(t *testing.T, c *cluster) {
	h1, h2 := c.hosts[0], c.hosts[1]
	n := c.put(t, h1, overlayNet("pins", "10.47.0.0/16"))
	free := "10.47.200.200"
	if strings.HasPrefix(h1.address(t, "pins"), "10.47.200.") || strings.HasPrefix(h2.address(t, "pins"), "10.47.200.") {
		free = "10.47.100.200"
	}
	p := agentapi.Pin{Address: netip.MustParseAddr(free), ContainerID: "c1", IfName: "eth0"}
	if err := h2.Agent().Pin(t.Context(), "pins", p); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(h2.stateDir(), "networks", "pins.json"))
	if err != nil || !strings.Contains(string(data), `{"address":"`+free+`","vtep":"192.0.2.12"}`) {
		t.Errorf("snapshot after the pin: %s, %v", data, err)
	}
	link := fmt.Sprintf("fwvx%d", n.VNI)
	eventually(t, "h1 has a route to the pin", func() bool { return strings.Contains(h1.try("ip", "route", "show", "dev", link), free+" via "+free) })
	if err := h1.Agent().Pin(t.Context(), "pins", p); !errors.Is(err, agentapi.ErrInUse) {
		t.Errorf("the same address on another host: error %v, want one that is ErrInUse", err)
	}
}

// macOf is the MAC in what `ip link show` prints.
func macOf(shown string) string {
	_, after, _ := strings.Cut(shown, "link/ether ")
	return strings.Fields(after + " none")[0]
}

// inUseBy says whether a host has containers on a network, as another knows it.
func inUseBy(t *testing.T, by *member, network, host string) bool {
	t.Helper()
	peers, err := by.Agent().Peers(t.Context(), network)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range peers {
		if p.Node == host {
			return p.InUse
		}
	}
	return false
}
