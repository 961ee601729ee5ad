package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func overlayNet(name, subnet string) agentapi.Network {
	return agentapi.Network{Name: name, Subnets: []agentapi.Subnet{{Prefix: netip.MustParsePrefix(subnet)}}}
}

// flow sends packets from one host to another through a network until the given function returns, and expects all to arrive.
func flow(t *testing.T, from, to *member, addr string, meanwhile func()) {
	t.Helper()
	from.ping(t, addr)
	f, err := testnet.StartFlow(from.Namespace, to.Namespace, netip.MustParseAddr(addr))
	if err != nil {
		t.Fatal(err)
	}
	meanwhile()
	if err := f.Stop(patience); err != nil {
		t.Errorf("from %s to %s: %v", from.name, to.name, err)
	}
}

// The life of networks on three hosts, with an etcd of three members.
func TestThreeHosts(t *testing.T) {
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
	t.Run("agents killed", func(t *testing.T) { agentsKilled(t, c, far) })
	t.Run("etcd member killed", func(t *testing.T) {
		if err := c.etcd.Kill(1); err != nil {
			t.Fatal(err)
		}
		c.put(t, h2, overlayNet("one-member-less", "10.43.0.0/16"))
		if err := c.etcd.Restart(1); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("etcd stopped", func(t *testing.T) { etcdStopped(t, c, blue, link, far) })
	t.Run("in use", func(t *testing.T) { inUse(t, c) })
	t.Run("another block", func(t *testing.T) { anotherBlock(t, c) })
	t.Run("pin", func(t *testing.T) { pin(t, c) })
	t.Run("rebooted", func(t *testing.T) { rebooted(t, h3, link) })
	t.Run("underlay address changed", func(t *testing.T) {
		h3.Sh(t, "ip", "addr", "del", "192.0.2.13/24", "dev", "eth0")
		h3.Sh(t, "ip", "addr", "add", "192.0.2.33/24", "dev", "eth0")
		eventually(t, "h1 follows", func() bool {
			fdb := h1.try("bridge", "fdb", "show", "dev", link)
			return strings.Contains(fdb, "dst 192.0.2.33") && !strings.Contains(fdb, "dst 192.0.2.13")
		})
		h1.ping(t, h3.address(t, "blue"))
	})
}

// What is removed of a network comes back: at once with an event of a link, else with the audit.
func removedByHand(t *testing.T, c *cluster, n agentapi.Network, link, far string) {
	h1 := c.hosts[0]
	peer := strings.Fields(h1.Sh(t, "bridge", "fdb", "show", "dev", link))
	for what, command := range map[string][]string{
		"device":          {"ip", "link", "del", link},
		"device set down": {"ip", "link", "set", link, "down"},
		"route":           {"ip", "route", "del", routeTo(t, h1, link, far)},
		"neighbour":       {"ip", "neigh", "del", far, "dev", link},
		"FDB entry":       {"bridge", "fdb", "del", peer[0], "dev", link},
		"MTU":             {"ip", "link", "set", link, "mtu", "1280"},
		"source filter":   {"nft", "flush", "chain", "inet", "fairway", "vxlan_input"},
	} {
		h1.Sh(t, command[0], command[1:]...)
		eventually(t, what+" is back", func() bool {
			up := h1.try("ip", "link", "show", link)
			return strings.Contains(up, ",UP") && strings.Contains(up, "mtu 1450") &&
				strings.Contains(h1.try("ip", "neigh", "show", "dev", link), far+" lladdr") &&
				strings.Contains(h1.try("nft", "list", "chain", "inet", "fairway", "vxlan_input"), "drop")
		})
		c.awaitPeers(t, h1, n, 2)
		h1.ping(t, far)
	}
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

func agentsKilled(t *testing.T, c *cluster, far string) {
	h1, h2 := c.hosts[0], c.hosts[1]
	flow(t, h1, h2, far, func() {
		for _, h := range c.hosts {
			h.kill(t)
		}
		if _, err := h1.api().Health(t.Context()); !errors.Is(err, agentapi.ErrNoAgent) {
			t.Errorf("health of an agent that was killed: error %v, want one that is ErrNoAgent", err)
		}
		c.start(t)
		for _, h := range c.hosts {
			awaitHealthy(t, h)
			if log := h.agent.Log(); strings.Contains(log, "bringing the kernel in line") {
				t.Errorf("%s found something to change:\n%s", h.name, log)
			}
		}
	})
}

func awaitHealthy(t *testing.T, h *member) {
	t.Helper()
	var last agentapi.Health
	defer func() {
		if t.Failed() {
			t.Logf("health of %s: %+v", h.name, last)
		}
	}()
	eventually(t, h.name+" is healthy", func() bool {
		health, err := h.api().Health(t.Context())
		last = health
		return err == nil && health.Healthy && health.Etcd.Connected
	})
}

func etcdStopped(t *testing.T, c *cluster, n agentapi.Network, link, far string) {
	h1, h2 := c.hosts[0], c.hosts[1]
	flow(t, h1, h2, far, func() {
		for i := range 3 {
			if err := c.etcd.Kill(i); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "h1 says that etcd is away", func() bool {
			health, err := h1.api().Health(t.Context())
			return err == nil && !health.Etcd.Connected && !health.Healthy && strings.Contains(strings.Join(health.Problems, "\n"), "etcd")
		})
		if _, err := h1.api().Put(t.Context(), overlayNet("later", "10.44.0.0/16")); !errors.Is(err, agentapi.ErrUnavailable) {
			t.Errorf("put without etcd: error %v, want one that is ErrUnavailable", err)
		}
		h2.kill(t) // it starts from its snapshot
		h2.start(t)
		if all, err := h2.api().Networks(t.Context()); err != nil || len(all) == 0 {
			t.Errorf("networks of an agent that was started without etcd: %v, %v", all, err)
		}
	})
	h1.Sh(t, "ip", "link", "del", link)
	c.awaitPeers(t, h1, n, 2)
	h1.ping(t, far)
	if err := c.etcd.Restart(0, 1, 2); err != nil {
		t.Fatal(err)
	}
	for _, h := range c.hosts {
		awaitHealthy(t, h)
	}
	c.put(t, h2, overlayNet("later", "10.44.0.0/16"))
}

func inUse(t *testing.T, c *cluster) {
	h1, h2 := c.hosts[0], c.hosts[1]
	c.put(t, h1, overlayNet("used", "10.45.0.0/16"))
	const addr = "10.45.0.9"
	h2.reserve(t, "used", addr)
	eventually(t, "h1 knows that h2 has containers", func() bool {
		peers, err := h1.api().Peers(t.Context(), "used")
		return err == nil && len(peers) == 3 && !peers[0].InUse && peers[1].InUse
	})
	err := h1.api().Delete(t.Context(), "used")
	if want := "network used is in use: remove its containers on host h2 first"; !errors.Is(err, agentapi.ErrInUse) || err.Error() != want {
		t.Errorf("delete: error %v, want %q", err, want)
	}
	if err := h2.api().Delete(t.Context(), "used"); !errors.Is(err, agentapi.ErrInUse) {
		t.Errorf("delete on the host itself: error %v, want one that is ErrInUse", err)
	}
	h2.release(t, "used", addr)
	eventually(t, "the network is deleted", func() bool { return h1.api().Delete(t.Context(), "used") == nil })
	for _, h := range c.hosts {
		eventually(t, h.name+" has let go", func() bool {
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
		peers, err := h.api().Peers(t.Context(), "small")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range peers {
			if p.Node == "h2" {
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
	if err := h2.api().Pin(t.Context(), "pins", p); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(h2.stateDir(), "networks", "pins.json"))
	if err != nil || !strings.Contains(string(data), `{"address":"`+free+`","vtep":"192.0.2.12"}`) {
		t.Errorf("snapshot after the pin: %s, %v", data, err)
	}
	link := fmt.Sprintf("fwvx%d", n.VNI)
	eventually(t, "h1 has a route to the pin", func() bool { return strings.Contains(h1.try("ip", "route", "show", "dev", link), free+" via "+free) })
	if err := h1.api().Pin(t.Context(), "pins", p); !errors.Is(err, agentapi.ErrInUse) {
		t.Errorf("the same address on another host: error %v, want one that is ErrInUse", err)
	}
}

// A reboot takes away the kernel's state and the containers; MAC and blocks stay.
func rebooted(t *testing.T, h *member, link string) {
	block := h.address(t, "blue")
	mac := macOf(h.Sh(t, "ip", "link", "show", link))
	h.reserveInBoot(t, "blue", "10.42.77.77")
	eventually(t, "its container is known", func() bool { return inUseBy(t, h, "blue") })
	h.kill(t)
	for _, l := range strings.Fields(h.Sh(t, "sh", "-c", "ip -br link show type vxlan | cut -d' ' -f1")) {
		h.Sh(t, "ip", "link", "del", l)
	}
	h.boot++
	h.start(t)
	eventually(t, "the device is back", func() bool { return h.try("ip", "link", "show", link) != "" })
	if got := macOf(h.Sh(t, "ip", "link", "show", link)); got != mac {
		t.Errorf("its device has MAC %s, and had %s before", got, mac)
	}
	if exists(filepath.Join(h.dataDir(), "blue", "10.42.77.77")) {
		t.Error("an address of the earlier boot is still reserved")
	}
	eventually(t, "its containers are gone from etcd", func() bool { return !inUseBy(t, h, "blue") })
	if got := h.address(t, "blue"); got != block {
		t.Errorf("its block begins with %s, and with %s before", got, block)
	}
	awaitHealthy(t, h)
}

// macOf is the MAC in what `ip link show` prints.
func macOf(shown string) string {
	_, after, _ := strings.Cut(shown, "link/ether ")
	return strings.Fields(after + " none")[0]
}

func inUseBy(t *testing.T, h *member, network string) bool {
	t.Helper()
	peers, err := h.api().Peers(t.Context(), network)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range peers {
		if p.Self {
			return p.InUse
		}
	}
	return false
}

// reserveInBoot is reserve in a directory that knows the boot, as plugin host-local leaves it.
func (h *member) reserveInBoot(t *testing.T, network, addr string) {
	t.Helper()
	side := filepath.Join(h.dataDir(), ".fairway", network)
	if err := os.MkdirAll(side, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(side, "boot"), []byte(h.bootID()), 0o600); err != nil {
		t.Fatal(err)
	}
	h.reserve(t, network, addr)
	old := unix.NsecToTimespec(0)
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(h.dataDir(), network, addr), []unix.Timespec{old, old}, 0); err != nil {
		t.Fatal(err)
	}
}
