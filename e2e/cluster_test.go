package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// patience is how long a test waits for what has to come.
const patience = time.Minute

// cluster is hosts on one underlay, with etcd there.
type cluster struct {
	raised *testnet.Hosts
	etcd   *testnet.Etcd
	hosts  []*member
}

// member is one host of a cluster, with its agent.
type member struct {
	*testnet.Host
	etcd  []string
	flags map[string]string // of fairwayd
	agent *testnet.Process  // nil: not running
	ends  *testing.T        // the test with which the host ends
	// guests is how many containers came and went.
	guests int
}

// newCluster raises hosts host1, host2, … at 192.0.2.11, …, and etcd members at 192.0.2.1, …. Agents are not started.
func newCluster(t *testing.T, hosts, members int) *cluster {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	raised := testnet.NewHosts(t, hosts, filepath.Join(root, "bin"))
	etcd, err := raised.StartEtcd(members)
	if err != nil {
		t.Fatal(err)
	}
	return clusterOn(t, raised, etcd)
}

// clusterOn is hosts that were raised, with an etcd that runs until the test ends.
func clusterOn(t *testing.T, raised *testnet.Hosts, etcd *testnet.Etcd) *cluster {
	t.Helper()
	t.Cleanup(func() {
		if err := etcd.Close(); err != nil {
			t.Error(err)
		}
	})
	c := &cluster{raised: raised, etcd: etcd}
	for _, h := range raised.All {
		// What comes back sooner than with an audit, comes back with an event.
		flags := map[string]string{"audit-interval": "1h", "alive-ttl": "5s", "leave-after": "1h", "log-level": "debug"}
		c.hosts = append(c.hosts, &member{Host: h, etcd: etcd.Endpoints(), flags: flags, ends: t})
	}
	return c
}

// What an agent has on its host, seen from outside.
func (h *member) stateDir() string { return h.File("/var/lib/fairway") }
func (h *member) dataDir() string  { return h.File(leaseDir) }

// start starts the host's agent and waits until it is ready.
func (h *member) start(t *testing.T) {
	t.Helper()
	if err := h.launch(); err != nil {
		t.Fatal(err)
	}
	h.endAgent()
}

// launch starts the host's agent for start.
func (h *member) launch() (err error) {
	var flags []string
	for name, value := range h.flags {
		flags = append(flags, "--"+name+"="+value)
	}
	h.agent, err = h.StartAgent(h.etcd, flags...)
	return err
}

// endAgent has the agent end with the host's test, which shows its log if it fails.
func (h *member) endAgent() {
	agent := h.agent
	h.ends.Cleanup(func() {
		if err := agent.Stop(unix.SIGKILL); err != nil && h.agent == agent {
			h.ends.Errorf("%s: %v", h.Name, err)
		}
		if h.ends.Failed() {
			h.ends.Logf("log of %s:\n%s", h.Name, agent.Log())
		}
	})
}

// kill ends the agent as a crash does.
func (h *member) kill(t *testing.T) {
	t.Helper()
	if err := h.agent.Stop(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.agent = nil
}

// start starts all agents at once.
func (c *cluster) start(t *testing.T) {
	t.Helper()
	errs := make([]error, len(c.hosts))
	var all sync.WaitGroup
	for i, h := range c.hosts {
		all.Go(func() { errs[i] = h.launch() })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, h := range c.hosts {
		h.endAgent()
	}
}

// kill ends all agents as a crash does.
func (c *cluster) kill(t *testing.T) {
	t.Helper()
	for _, h := range c.hosts {
		h.kill(t)
	}
}

// conflist is the file of a network, seen from outside.
func (h *member) conflist(network string) string {
	return h.File(filepath.Join(confDir, "fairway-"+network+".conflist"))
}

// guest is a network namespace on a host.
type guest struct {
	*testnet.Namespace
	// inside is its file, for what runs on the host.
	inside string
}

// newGuest makes a namespace on the host for one test, with which it ends.
func (h *member) newGuest(t *testing.T, name string) guest {
	t.Helper()
	h.Sh(t, "ip", "netns", "add", name)
	t.Cleanup(func() { h.try("ip", "netns", "del", name) }) // it goes with a reboot, too
	inside := filepath.Join(netnsDir, name)
	return guest{&testnet.Namespace{Path: h.File(inside)}, inside}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// eventually waits until something is so. Nothing tells a test when the kernel or a file of another process changes.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

// try runs a command on the host that may fail, and gives what it printed.
func (h *member) try(name string, args ...string) string {
	out, err := h.Command(name, args...).CombinedOutput()
	if err != nil {
		return ""
	}
	return string(out)
}

// reserve makes an address look like a container's, as plugin host-local does.
func (h *member) reserve(t *testing.T, network, addr string) {
	t.Helper()
	dir := filepath.Join(h.dataDir(), network)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, addr), []byte("container\r\neth0"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (h *member) release(t *testing.T, network, addr string) {
	t.Helper()
	if err := os.Remove(filepath.Join(h.dataDir(), network, addr)); err != nil {
		t.Fatal(err)
	}
}

// put makes a network by the host's agent, has each host join it, and waits until each has a block of it and the way to all others.
func (c *cluster) put(t *testing.T, by *member, n agentapi.Network) agentapi.Network {
	t.Helper()
	asked := time.Now()
	made, err := by.Agent().Put(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		t.Logf("network %s was on all hosts after %v", n.Name, time.Since(asked).Round(time.Millisecond))
	}()
	for _, h := range c.hosts {
		if h.agent != nil {
			eventually(t, h.Name+" has its conflist", func() bool { return exists(h.conflist(n.Name)) })
			h.join(t, n.Name)
		}
	}
	for _, h := range c.hosts {
		if h.agent != nil {
			c.awaitPeers(t, h, made, len(c.hosts)-1)
		}
	}
	return made
}

// join makes a host a member of a network, as its first container would.
func (h *member) join(t *testing.T, network string) {
	t.Helper()
	if err := h.Agent().Join(t.Context(), network); err != nil {
		t.Fatalf("%s: %v", h.Name, err)
	}
}

// awaitPeers waits until a host's kernel has the way to a number of peers, each with one block of IPv4.
func (c *cluster) awaitPeers(t *testing.T, h *member, n agentapi.Network, count int) {
	t.Helper()
	link := fmt.Sprintf("fwvx%d", n.VNI)
	eventually(t, fmt.Sprintf("%s has %d peers", h.Name, count), func() bool {
		return strings.Count(h.try("ip", "route", "show", "dev", link), "onlink") == count &&
			strings.Count(h.try("bridge", "fdb", "show", "dev", link), "dst") == count
	})
}

// address is one that the host itself has in a network: the first of its first block.
func (h *member) address(t *testing.T, network string) string {
	t.Helper()
	peers, err := h.Agent().Peers(t.Context(), network)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range peers {
		if p.Self && len(p.Blocks) > 0 {
			return p.Blocks[0].Addr().String()
		}
	}
	t.Fatalf("%s owns no block of %s: %+v", h.Name, network, peers)
	return ""
}

// ping expects an answer from another host through the overlay.
func (h *member) ping(t *testing.T, addr string) {
	t.Helper()
	eventually(t, h.Name+" reaches "+addr, func() bool {
		return exec.Command("nsenter", "--net="+h.Path, "busybox", "ping", "-c1", "-W2", addr).Run() == nil
	})
}
