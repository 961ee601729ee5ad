package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// patience is how long a test waits for what has to come.
const patience = time.Minute

// cluster is hosts on one underlay, with etcd members beside them.
type cluster struct {
	underlay *testnet.Namespace
	etcd     *testnet.Etcd
	hosts    []*member
}

// member is one host of a cluster, with its agent.
type member struct {
	*testnet.Namespace
	name  string
	vtep  string
	dir   string
	boot  int               // number of the boot
	flags map[string]string // of fairwayd
	agent *testnet.Process  // nil: not running
	ends  *testing.T        // the test with which the host ends
	// guests is how many containers came and went.
	guests int
}

// newCluster raises hosts h1, h2, … at 192.0.2.11, …, and etcd members at 192.0.2.1, …. Agents are not started.
func newCluster(t *testing.T, hosts, members int) *cluster {
	t.Helper()
	c := &cluster{underlay: testnet.NewNS(t, "underlay")}
	c.underlay.Sh(t, "ip", "link", "set", "lo", "up")
	c.underlay.Sh(t, "ip", "link", "add", "sw", "type", "bridge")
	c.underlay.Sh(t, "ip", "link", "set", "sw", "up")
	c.etcd = c.startEtcd(t, members)
	for i := 1; i <= hosts; i++ {
		c.hosts = append(c.hosts, c.newHost(t, i))
	}
	return c
}

func (c *cluster) startEtcd(t *testing.T, count int) *testnet.Etcd {
	t.Helper()
	var members []testnet.EtcdMember
	dir := t.TempDir()
	for i := 1; i <= count; i++ {
		addr := fmt.Sprintf("192.0.2.%d", i)
		c.underlay.Sh(t, "ip", "addr", "add", addr+"/24", "dev", "sw")
		members = append(members, testnet.EtcdMember{Name: fmt.Sprintf("m%d", i), Address: addr, Dir: dir, In: c.underlay})
	}
	etcd, err := testnet.StartEtcd(members...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := etcd.Close(); err != nil {
			t.Error(err)
		}
	})
	return etcd
}

func (c *cluster) newHost(t *testing.T, i int) *member {
	t.Helper()
	h := &member{
		Namespace: testnet.NewNS(t, fmt.Sprintf("h%d", i)), name: fmt.Sprintf("h%d", i), vtep: fmt.Sprintf("192.0.2.%d", 10+i),
		dir: t.TempDir(), ends: t,
	}
	port := fmt.Sprintf("port%d", i)
	h.Sh(t, "ip", "link", "set", "lo", "up")
	h.Sh(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", port)
	h.Sh(t, "ip", "link", "set", port, "netns", c.underlay.Path)
	c.underlay.Sh(t, "ip", "link", "set", port, "up", "master", "sw")
	h.Sh(t, "ip", "addr", "add", h.vtep+"/24", "dev", "eth0")
	h.Sh(t, "ip", "link", "set", "eth0", "up")
	h.flags = map[string]string{
		"etcd-endpoints": strings.Join(c.etcd.Endpoints(), ","), "underlay": "eth0", "node": h.name,
		"netconf-dir": h.netconfDir(), "run-dir": h.runDir(), "state-dir": h.stateDir(), "data-dir": h.dataDir(),
		// What comes back sooner than with an audit, comes back with an event.
		"audit-interval": "1h", "alive-ttl": "5s", "log-level": "debug",
	}
	return h
}

func (h *member) netconfDir() string { return filepath.Join(h.dir, "net.d") }
func (h *member) runDir() string     { return filepath.Join(h.dir, "run") }
func (h *member) stateDir() string   { return filepath.Join(h.dir, "lib") }
func (h *member) dataDir() string    { return filepath.Join(h.dir, "cni") }

// started is what fairwayd logs when its socket is there and its snapshots are in place.
const started = "msg=running"

// inBoot prepares a command on the host, which has boots of its own.
func (h *member) inBoot(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	boot := filepath.Join(h.dir, "boot_id")
	if err := os.WriteFile(boot, []byte(h.bootID()+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const script = `mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"`
	return h.Command("unshare", append([]string{"--mount", "sh", "-c", script, boot, name}, args...)...)
}

func (h *member) bootID() string { return fmt.Sprintf("boot-%s-%d", h.name, h.boot) }

// start starts the host's agent and waits until it is ready.
func (h *member) start(t *testing.T) {
	t.Helper()
	h.launch(t)
	h.awaitReady(t)
}

// launch starts the host's agent.
func (h *member) launch(t *testing.T) {
	t.Helper()
	args := []string{fairwayd(t)}
	for name, value := range h.flags {
		args = append(args, "--"+name+"="+value)
	}
	h.run(t, h.inBoot(t, args[0], args[1:]...))
}

// fairwayd is the path of the agent.
func fairwayd(t *testing.T) string {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, "bin", "fairwayd")
}

// run runs a command as the host's agent.
func (h *member) run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	agent, err := testnet.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	h.agent = agent
	h.ends.Cleanup(func() {
		if err := agent.Stop(unix.SIGKILL); err != nil && h.agent == agent {
			h.ends.Errorf("%s: %v", h.name, err)
		}
		if h.ends.Failed() {
			h.ends.Logf("log of %s:\n%s", h.name, agent.Log())
		}
	})
}

func (h *member) awaitReady(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := h.agent.Await(ctx, started); err != nil {
		t.Fatal(err)
	}
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
	for _, h := range c.hosts {
		h.launch(t)
	}
	for _, h := range c.hosts {
		h.awaitReady(t)
	}
}

// kill ends all agents as a crash does.
func (c *cluster) kill(t *testing.T) {
	t.Helper()
	for _, h := range c.hosts {
		h.kill(t)
	}
}

func (h *member) api() *agentapi.Client { return agentapi.New(agentapi.Socket(h.runDir())) }

func (h *member) conflist(network string) string {
	return filepath.Join(h.netconfDir(), "fairway-"+network+".conflist")
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

// put makes a network by the host's agent, and waits until each host has a block of it and the way to all others.
func (c *cluster) put(t *testing.T, by *member, n agentapi.Network) agentapi.Network {
	t.Helper()
	asked := time.Now()
	made, err := by.api().Put(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		t.Logf("network %s was on all hosts after %v", n.Name, time.Since(asked).Round(time.Millisecond))
	}()
	for _, h := range c.hosts {
		if h.agent != nil {
			eventually(t, h.name+" has its conflist", func() bool { return exists(h.conflist(n.Name)) })
			c.awaitPeers(t, h, made, len(c.hosts)-1)
		}
	}
	return made
}

// awaitPeers waits until a host's kernel has the way to a number of peers, each with one block of IPv4.
func (c *cluster) awaitPeers(t *testing.T, h *member, n agentapi.Network, count int) {
	t.Helper()
	link := fmt.Sprintf("fwvx%d", n.VNI)
	eventually(t, fmt.Sprintf("%s has %d peers", h.name, count), func() bool {
		return strings.Count(h.try("ip", "route", "show", "dev", link), "onlink") == count &&
			strings.Count(h.try("bridge", "fdb", "show", "dev", link), "dst") == count
	})
}

// address is one that the host itself has in a network: the first of its first block.
func (h *member) address(t *testing.T, network string) string {
	t.Helper()
	peers, err := h.api().Peers(t.Context(), network)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range peers {
		if p.Self && len(p.Blocks) > 0 {
			return p.Blocks[0].Addr().String()
		}
	}
	t.Fatalf("%s owns no block of %s: %+v", h.name, network, peers)
	return ""
}

// ping expects an answer from another host through the overlay.
func (h *member) ping(t *testing.T, addr string) {
	t.Helper()
	eventually(t, h.name+" reaches "+addr, func() bool {
		return exec.Command("nsenter", "--net="+h.Path, "busybox", "ping", "-c1", "-W2", addr).Run() == nil
	})
}
