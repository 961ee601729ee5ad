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

	"github.com/fairway-cni/fairway/pkg/agentapi"
)

// A host is cut off from etcd, which meanwhile forgets how it got to where it is.
func TestCompactionDuringAPartition(t *testing.T) {
	c := newCluster(t, 2, 1)
	c.start(t)
	h1, h2 := c.hosts[0], c.hosts[1]
	n := c.put(t, h1, overlayNet("blue", "10.42.0.0/16"))
	flow(t, h1, h2, h2.address(t, "blue"), func() {
		h2.Sh(t, "ip", "route", "add", "blackhole", "192.0.2.1")
		h2.Sh(t, "ss", "-K", "dst", "192.0.2.1") // the kernel may not be able to: then the agent gives the connection up itself
		eventually(t, "h2 is cut off", func() bool {
			health, err := h2.api().Health(t.Context())
			return err == nil && !health.Etcd.Connected
		})
		if _, err := h1.api().Put(t.Context(), overlayNet("green", "10.43.0.0/16")); err != nil {
			t.Fatal(err)
		}
		health, err := h1.api().Health(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.etcd.Ctl(0, "compact", fmt.Sprint(health.Etcd.Revision)); err != nil {
			t.Fatal(err)
		}
		h2.Sh(t, "ip", "route", "del", "blackhole", "192.0.2.1")
		awaitHealthy(t, h2)
		eventually(t, "h2 has the network that was made meanwhile", func() bool { return exists(h2.conflist("green")) })
	})
	if !strings.Contains(h2.agent.Log(), "compacted") {
		t.Error("h2 has not met the compaction")
	}
	c.awaitPeers(t, h2, n, 1)
}

// Three hosts and a network of two blocks.
func TestNoBlockForTheLast(t *testing.T) {
	c := newCluster(t, 3, 1)
	c.start(t)
	h1 := c.hosts[0]
	if _, err := h1.api().Put(t.Context(), agentapi.Network{Name: "tight", Subnets: []agentapi.Subnet{
		{Prefix: netip.MustParsePrefix("10.42.0.0/29"), BlockLength: 30},
	}}); err != nil {
		t.Fatal(err)
	}
	var without *member
	eventually(t, "two hosts own a block, and one says that it does not", func() bool {
		peers, err := h1.api().Peers(t.Context(), "tight")
		if err != nil || len(peers) != 3 {
			return false
		}
		owners := 0
		for i, p := range peers {
			owners += len(p.Blocks)
			if len(p.Blocks) == 0 {
				without = c.hosts[i]
			}
		}
		if owners != 2 || without == nil {
			return false
		}
		health, err := without.api().Health(t.Context())
		return err == nil && strings.Contains(strings.Join(health.Problems, "\n"), "subnet 10.42.0.0/29 has 2 blocks, all in use")
	})
	for _, h := range c.hosts {
		eventually(t, h.name+" has its conflist", func() bool { return exists(h.conflist("tight")) })
		if h != without {
			awaitHealthy(t, h)
		}
	}
}

func TestBadInput(t *testing.T) {
	c := newCluster(t, 1, 1)
	c.start(t)
	h := c.hosts[0]
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
		_, err := h.api().Put(t.Context(), test.network)
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
	if _, err := h.api().Network(t.Context(), "green"); !errors.Is(err, agentapi.ErrNotFound) {
		t.Errorf("network that was refused: error %v, want one that is ErrNotFound", err)
	}
	awaitHealthy(t, h)
}

// Neither etcd nor the underlay are there at first, and a snapshot is damaged.
func TestTroubleAtStart(t *testing.T) {
	c := newCluster(t, 2, 1)
	c.start(t)
	h1, h2 := c.hosts[0], c.hosts[1]
	blue := c.put(t, h1, overlayNet("blue", "10.42.0.0/16"))
	c.put(t, h1, overlayNet("green", "10.43.0.0/16"))
	far := h2.address(t, "blue")
	h1.kill(t)
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
		health, err := h1.api().Health(t.Context())
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
}

func TestTwoHostsOfOneName(t *testing.T) {
	c := newCluster(t, 2, 1)
	h1, h2 := c.hosts[0], c.hosts[1]
	h2.flags["node"] = h1.name
	h1.start(t)
	c.hosts = c.hosts[:1]
	c.put(t, h1, overlayNet("blue", "10.42.0.0/16"))
	h2.start(t)
	eventually(t, "the second says so", func() bool {
		health, err := h2.api().Health(t.Context())
		return err == nil && strings.Contains(strings.Join(health.Problems, "\n"), "give each host its own name by --node")
	})
	if exists(h2.conflist("blue")) {
		t.Error("the second host uses the blocks of the first")
	}
	awaitHealthy(t, h1)
}
