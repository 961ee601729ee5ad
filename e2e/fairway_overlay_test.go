package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestOverlayByFairway: what one host creates, all have; containers on both reach each other; it goes from all again, when
// no host has containers on it.
func TestOverlayByFairway(t *testing.T) {
	c := newCluster(t, 2, 1)
	c.start(t)
	a, b := c.hosts[0], c.hosts[1]
	succeed(t, a.fairway(t, "create", "-d", "overlay", "--subnet", "10.42.0.0/16", "--label", "tier=db", "wide"))
	awaitNetwork(t, b, "wide overlay global tier=db\n")
	web, db := a.newGuest(t, "web"), b.newGuest(t, "db")
	succeed(t, a.fairway(t, "connect", "wide", "netns:"+web.inside))
	succeed(t, b.fairway(t, "connect", "wide", "netns:"+db.inside))
	const address = "{{range .Containers}}{{.IPv4Address}}{{end}}"
	there, _, _ := strings.Cut(succeed(t, b.fairway(t, "inspect", "-f", address, "wide")), "/")
	ping(t, web.Path, there)

	if said := fail(t, a.fairway(t, "rm", "wide")); !strings.Contains(said, "is in use by container "+filepath.Base(web.inside)) {
		t.Errorf("rm with a container on this host: got %q", said)
	}
	succeed(t, a.fairway(t, "disconnect", "wide", "netns:"+web.inside))
	if said := fail(t, a.fairway(t, "rm", "wide")); !strings.Contains(said, "host2") {
		t.Errorf("rm with a container on the other host: got %q, want it to name host2", said)
	}
	succeed(t, b.fairway(t, "disconnect", "wide", "netns:"+db.inside))
	awaitRemoval(t, a, "wide")
	awaitNetwork(t, a, "")
	awaitNetwork(t, b, "")
}

// fairway prepares the command line on a host.
func (h *member) fairway(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return h.Command(filepath.Join(pluginDir, "fairway"), args...)
}

// awaitNetwork waits until ls shows this of the networks that are not predefined.
func awaitNetwork(t *testing.T, h *member, want string) {
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
func awaitRemoval(t *testing.T, h *member, name string) {
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
