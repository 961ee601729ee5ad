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

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// overlayHost is a host with a node agent. Its directories are its own, also where their paths are fixed.
type overlayHost struct {
	*testnet.Namespace
	dir string
}

// TestOverlayByFairway: what one host creates, all have; containers on both reach each other; it goes from all again, when
// no host has containers on it.
func TestOverlayByFairway(t *testing.T) {
	underlay := testnet.NewNS(t, "underlay")
	for _, args := range []string{"link set lo up", "link add sw type bridge", "link set sw up", "addr add 192.0.2.1/24 dev sw"} {
		underlay.Sh(t, "ip", strings.Fields(args)...)
	}
	etcd, err := testnet.StartEtcd(testnet.EtcdMember{Name: "m1", Address: "192.0.2.1", Dir: t.TempDir(), In: underlay})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := etcd.Close(); err != nil {
			t.Error(err)
		}
	})
	a, b := newOverlayHost(t, underlay, 1, etcd.Endpoints()), newOverlayHost(t, underlay, 2, etcd.Endpoints())

	succeed(t, a.fairway(t, "create", "-d", "overlay", "--subnet", "10.42.0.0/16", "--label", "tier=db", "wide"))
	awaitNetwork(t, b, "wide overlay global tier=db\n")
	web, db := testnet.NewNS(t, "web"), testnet.NewNS(t, "db")
	succeed(t, a.fairway(t, "connect", "wide", "netns:"+web.Path))
	succeed(t, b.fairway(t, "connect", "wide", "netns:"+db.Path))
	const address = "{{range .Containers}}{{.IPv4Address}}{{end}}"
	there, _, _ := strings.Cut(succeed(t, b.fairway(t, "inspect", "-f", address, "wide")), "/")
	ping(t, web.Path, there)

	if said := fail(t, a.fairway(t, "rm", "wide")); !strings.Contains(said, "is in use by container "+filepath.Base(web.Path)) {
		t.Errorf("rm with a container on this host: got %q", said)
	}
	succeed(t, a.fairway(t, "disconnect", "wide", "netns:"+web.Path))
	if said := fail(t, a.fairway(t, "rm", "wide")); !strings.Contains(said, "host2") {
		t.Errorf("rm with a container on the other host: got %q, want it to name host2", said)
	}
	succeed(t, b.fairway(t, "disconnect", "wide", "netns:"+db.Path))
	awaitRemoval(t, a, "wide")
	awaitNetwork(t, a, "")
	awaitNetwork(t, b, "")
}

// newOverlayHost plugs host N into the underlay at 192.0.2.1N, and starts its agent.
func newOverlayHost(t *testing.T, underlay *testnet.Namespace, number int, endpoints []string) overlayHost {
	t.Helper()
	name, port := fmt.Sprintf("host%d", number), fmt.Sprintf("port%d", number)
	h := overlayHost{Namespace: testnet.NewNS(t, name), dir: t.TempDir()}
	h.Sh(t, "ip", "link", "set", "lo", "up")
	h.Sh(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", underlay.Path)
	underlay.Sh(t, "ip", "link", "set", port, "up", "master", "sw")
	h.Sh(t, "ip", "addr", "add", fmt.Sprintf("192.0.2.1%d/24", number), "dev", "eth0")
	h.Sh(t, "ip", "link", "set", "eth0", "up")
	for _, dir := range []string{"cni", "net.d", "run", "state"} {
		if err := os.Mkdir(filepath.Join(h.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	agent, err := testnet.Start(h.command("fairwayd", "--node", name, "--underlay", "eth0", "--etcd-endpoints", strings.Join(endpoints, ","),
		"--netconf-dir", h.dir+"/net.d", "--run-dir", h.dir+"/run", "--state-dir", h.dir+"/state"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := agent.Stop(unix.SIGTERM); err != nil {
			t.Errorf("fairwayd of %s: %v", name, err)
		}
		if t.Failed() {
			t.Logf("log of fairwayd of %s:\n%s", name, agent.Log())
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), commandLimit)
	defer cancel()
	if err := agent.Await(ctx, "msg=running"); err != nil {
		t.Fatal(err)
	}
	return h
}

// command prepares a command of ours on the host, whose /var/lib/cni is its own.
func (h overlayHost) command(name string, args ...string) *exec.Cmd {
	root, err := moduleRoot()
	if err != nil {
		panic(err) // TestMain has found it
	}
	const script = `mount --bind "$1" /var/lib/cni && shift && exec "$@"`
	inside := append([]string{"--mount", "sh", "-c", script, "sh", h.dir + "/cni", filepath.Join(root, "bin", name)}, args...)
	return h.Command("unshare", inside...)
}

// fairway prepares the command line, with this host's networks and agent.
func (h overlayHost) fairway(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	switch args[0] {
	case "create", "rm":
		args = append(args, "--agent", h.dir+"/run/fairwayd.sock")
	}
	return h.command("fairway", append([]string{"--netconf-dir", h.dir + "/net.d", "--cni-path", pluginDir}, args...)...)
}

// awaitNetwork waits until ls shows this of the networks that are not predefined.
func awaitNetwork(t *testing.T, h overlayHost, want string) {
	t.Helper()
	var got string
	for start := time.Now(); time.Since(start) < commandLimit; time.Sleep(50 * time.Millisecond) {
		got = succeed(t, h.fairway(t, "ls", "--filter", "type=custom", "--format", "{{.Name}} {{.Driver}} {{.Scope}} {{.Labels}}"))
		if got == want {
			return
		}
	}
	t.Errorf("networks: got %q, want %q", got, want)
}

// awaitRemoval removes a network as soon as the agent of the other host has said that no container is left there.
func awaitRemoval(t *testing.T, h overlayHost, name string) {
	t.Helper()
	var said string
	for start := time.Now(); time.Since(start) < commandLimit; time.Sleep(50 * time.Millisecond) {
		var err error
		if _, said, err = run(h.fairway(t, "rm", name)); err == nil {
			return
		}
	}
	t.Errorf("rm %s: got %q", name, said)
}
