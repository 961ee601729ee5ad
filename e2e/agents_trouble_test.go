package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/agentapi"
)

// A host is cut off from etcd, which meanwhile forgets how it got to where it is: another host moved on the underlay, a
// network was made, and one of a name is another one.
func TestCompactionDuringAPartition(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, 1)
	c.start(t)
	h1, h2, h3 := c.hosts[0], c.hosts[1], c.hosts[2]
	blue := c.put(t, h1, overlayNet("blue", "10.42.0.0/16"))
	c.put(t, h1, overlayNet("red", "10.44.0.0/16"))
	var red agentapi.Network
	flow(t, h1.Namespace, h2.Namespace, h2.address(t, "blue"), func() {
		h2.Sh(t, "ip", "route", "add", "blackhole", "192.0.2.1")
		h2.Sh(t, "ss", "-K", "dst", "192.0.2.1") // the kernel may not be able to: then the agent gives the connection up itself
		eventually(t, "h2 is cut off", func() bool {
			health, err := h2.Agent().Health(t.Context())
			return err == nil && !health.Etcd.Connected
		})
		if _, err := h1.Agent().Put(t.Context(), overlayNet("green", "10.43.0.0/16")); err != nil {
			t.Fatal(err)
		}
		if err := h1.Agent().Delete(t.Context(), "red"); err != nil {
			t.Fatal(err)
		}
		var err error
		if red, err = h1.Agent().Put(t.Context(), overlayNet("red", "10.45.0.0/16")); err != nil {
			t.Fatal(err)
		}
		if err := h3.Readdress(netip.MustParseAddr("192.0.2.33"), netip.MustParseAddr("2001:db8::33")); err != nil {
			t.Fatal(err)
		}
		link := fmt.Sprintf("fwvx%d", blue.VNI)
		eventually(t, "h1 follows h3", func() bool { return strings.Contains(h1.try("bridge", "fdb", "show", "dev", link), "dst 192.0.2.33") })
		health, err := h1.Agent().Health(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.etcd.Ctl(0, "compact", fmt.Sprint(health.Etcd.Revision)); err != nil {
			t.Fatal(err)
		}
		h2.Sh(t, "ip", "route", "del", "blackhole", "192.0.2.1")
		awaitHealthy(t, h2)
		eventually(t, "h2 has the network that was made meanwhile", func() bool { return exists(h2.conflist("green")) })
		eventually(t, "h2 follows h3", func() bool {
			fdb := h2.try("bridge", "fdb", "show", "dev", link)
			return strings.Contains(fdb, "dst 192.0.2.33") && !strings.Contains(fdb, "dst 192.0.2.13")
		})
	})
	if !strings.Contains(h2.agent.Log(), "compacted") {
		t.Error("h2 has not met the compaction")
	}
	for _, h := range c.hosts {
		h.join(t, red.Name)
	}
	for _, h := range c.hosts {
		c.awaitPeers(t, h, blue, 2)
		c.awaitPeers(t, h, red, 2)
		awaitHealthy(t, h)
	}
	h2.ping(t, h3.address(t, "blue"))
	h2.ping(t, h3.address(t, "red"))
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, 1)
	c.start(t)
	h, other := c.hosts[0], c.hosts[1]
	blue := c.put(t, h, overlayNet("blue", "10.42.0.0/16"))
	h.Sh(t, "ip", "route", "add", "10.99.1.0/24", "via", "192.0.2.1")
	with := func(change func(*agentapi.Network)) agentapi.Network {
		n := overlayNet("green", "10.43.0.0/16")
		change(&n)
		return n
	}
	for name, test := range map[string]struct {
		network agentapi.Network
		kind    error
		want    string
	}{
		"VNI too large":         {with(func(n *agentapi.Network) { n.VNI = 1 << 24 }), agentapi.ErrInvalid, "vni 16777216: give one from 1 to 16777215"},
		"VNI of another":        {with(func(n *agentapi.Network) { n.VNI = blue.VNI }), agentapi.ErrInvalid, "network blue"},
		"host bits":             {overlayNet("green", "10.43.0.1/16"), agentapi.ErrInvalid, "it should be 10.43.0.0/16"},
		"another's subnet":      {overlayNet("green", "10.42.128.0/17"), agentapi.ErrInvalid, "network blue"},
		"a route of the host":   {overlayNet("green", "10.99.0.0/16"), agentapi.ErrInvalid, "the host's route to 10.99.1.0/24 through eth0"},
		"MTU over the underlay": {with(func(n *agentapi.Network) { n.MTU = 1451 }), agentapi.ErrInvalid, "mtu 1451 is more than 1450"},
		"MTU too small":         {with(func(n *agentapi.Network) { n.MTU = 5 }), agentapi.ErrInvalid, "mtu"},
		"another definition":    {overlayNet("blue", "10.43.0.0/16"), agentapi.ErrExists, "network blue exists with another definition"},
		"a name that is a path": {overlayNet("..", "10.43.0.0/16"), agentapi.ErrInvalid, `name ".."`},
	} {
		_, err := h.Agent().Put(t.Context(), test.network)
		if name == "a name that is a path" && err != nil {
			continue // refused on the way already
		}
		if !errors.Is(err, test.kind) || !strings.Contains(fmt.Sprint(err), test.want) {
			t.Errorf("%s: error %v, want %q of kind %v", name, err, test.want, test.kind)
		}
	}
	if exists(h.conflist("green")) || strings.Contains(h.try("ip", "route"), "10.43.") {
		t.Error("something is left of a network that was refused")
	}
	if _, err := h.Agent().Network(t.Context(), "green"); !errors.Is(err, agentapi.ErrNotFound) {
		t.Errorf("network that was refused: error %v, want one that is ErrNotFound", err)
	}
	awaitHealthy(t, h)
	h.ping(t, other.address(t, "blue"))

	// The host that makes a network cannot know of another's routes.
	other.Sh(t, "ip", "route", "add", "10.98.1.0/24", "via", "192.0.2.1")
	if _, err := h.Agent().Put(t.Context(), overlayNet("red", "10.98.0.0/16")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other host says so", func() bool {
		return says(t, other, "network red: subnet 10.98.0.0/16 overlaps the host's route to 10.98.1.0/24 through eth0")
	})
	if exists(other.conflist("red")) {
		t.Error("the other host offers a network that it cannot have")
	}
	other.ping(t, h.address(t, "blue"))
	other.Sh(t, "ip", "route", "del", "10.98.1.0/24")
	c.put(t, h, overlayNet("news", "10.97.0.0/16")) // whatever is new, what had a problem is looked at again
	awaitHealthy(t, other)
	h.join(t, "red")
	other.join(t, "red")
	other.ping(t, h.address(t, "red"))
}

// Neither etcd nor the underlay are there at first, and a snapshot is damaged.
func TestTroubleAtStart(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, 1)
	c.start(t)
	h1, h2 := c.hosts[0], c.hosts[1]
	blue := c.put(t, h1, overlayNet("blue", "10.42.0.0/16"))
	c.put(t, h1, overlayNet("green", "10.43.0.0/16"))
	c.put(t, h1, overlayNet("lost", "10.44.0.0/16"))
	far := h2.address(t, "blue")
	h1.kill(t)
	if err := h2.Agent().Delete(t.Context(), "lost"); err != nil {
		t.Fatal(err)
	}
	lost := filepath.Join(h1.stateDir(), "networks", "lost.json")
	if err := os.Truncate(lost, 40); err != nil {
		t.Fatal(err)
	}
	if err := c.etcd.Kill(0); err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(h1.stateDir(), "networks", "green.json")
	if err := os.Truncate(cut, 40); err != nil {
		t.Fatal(err)
	}
	h1.flags["underlay"] = "eth7"
	h1.start(t)
	eventually(t, "h1 says what is wrong", func() bool {
		health, err := h1.Agent().Health(t.Context())
		said := strings.Join(health.Problems, "\n")
		return err == nil && strings.Contains(said, "there is no link eth7") && strings.Contains(said, "nobody listens on http://192.0.2.1:2379")
	})
	h1.ping(t, far)
	h1.kill(t)
	h1.flags["underlay"] = "eth0"
	h1.start(t)
	if log := h1.agent.Log(); !strings.Contains(log, "snapshot is ignored until it is rebuilt") {
		t.Error("nothing was said of the snapshot that was cut short")
	}
	h1.ping(t, far)
	c.awaitPeers(t, h1, blue, 1)
	if err := c.etcd.Restart(0); err != nil {
		t.Fatal(err)
	}
	awaitHealthy(t, h1)
	eventually(t, "the snapshot is rebuilt", func() bool {
		data, err := os.ReadFile(cut)
		return err == nil && json.Valid(data)
	})
	eventually(t, "what was deleted meanwhile goes, although its snapshot was cut short", func() bool {
		return !exists(lost) && !exists(h1.conflist("lost")) &&
			!strings.Contains(h1.try("ip", "-d", "link"), "overlay lost") && !strings.Contains(h1.try("ip", "route"), "10.44.")
	})

	link := fmt.Sprintf("fwvx%d", blue.VNI)
	h1.Sh(t, "ip", "link", "set", "eth0", "down")
	eventually(t, "h1 says that its underlay is down", func() bool { return says(t, h1, "link eth0 of address 192.0.2.11 is down, raise it") })
	if !strings.Contains(h1.Sh(t, "ip", "route", "show", "dev", link), "onlink") {
		t.Error("what leads to peers was torn down with the underlay")
	}
	h1.Sh(t, "ip", "link", "set", "eth0", "up")
	awaitHealthy(t, h1)
	h1.ping(t, far)

	h1.kill(t)
	h1.etcd = []string{"https://192.0.2.1:2379"}
	h1.start(t)
	eventually(t, "h1 says that TLS does not fit", func() bool {
		return says(t, h1, "TLS mismatch with https://192.0.2.1:2379: etcd speaks plain HTTP there: write http:// in etcd-endpoints")
	})
	h1.ping(t, far)
}

func TestTwoHostsOfOneName(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, 1)
	h1, h2 := c.hosts[0], c.hosts[1]
	h2.flags["node"] = h1.Name
	h1.start(t)
	c.hosts = c.hosts[:1]
	c.put(t, h1, overlayNet("blue", "10.42.0.0/16"))
	h2.start(t)
	eventually(t, "the second says so", func() bool {
		health, err := h2.Agent().Health(t.Context())
		return err == nil && strings.Contains(strings.Join(health.Problems, "\n"), "give each host its own name by --node")
	})
	if exists(h2.conflist("blue")) {
		t.Error("the second host uses the blocks of the first")
	}
	awaitHealthy(t, h1)

	// The first is away for so long that the second takes over: while anything answers where it was, its name stays its own. Then the
	// first waits.
	if err := unix.Kill(h1.agent.Pid(), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	h1.Sh(t, "ip", "link", "set", "eth0", "down")
	awaitHealthy(t, h2)
	h1.Sh(t, "ip", "link", "set", "eth0", "up")
	if err := unix.Kill(h1.agent.Pid(), unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first says so", func() bool { return says(t, h1, "give each host its own name by --node") })
	if _, err := h2.Agent().Put(t.Context(), overlayNet("green", "10.43.0.0/16")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first has heard of the new network", func() bool {
		first, err := h1.Agent().Health(t.Context())
		second, err2 := h2.Agent().Health(t.Context())
		return err == nil && err2 == nil && first.Etcd.Revision == second.Etcd.Revision
	})
	h1.Sh(t, "ip", "link", "set", "eth0", "alias", "underlay") // an event
	if all, err := h1.Agent().Networks(t.Context()); err != nil || len(all) != 1 || exists(h1.conflist("green")) {
		t.Errorf("the first goes on with %v, %v, want the network that it had", all, err)
	}
}
