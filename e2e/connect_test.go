package e2e

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestConnectContainerd gives a container of containerd a second network while it runs, and takes the first one away.
func TestConnectContainerd(t *testing.T) {
	noAddresses(t)
	writeConf(t, `{"cniVersion": "1.0.0", "name": "first", "plugins": [{"type": "bridge", "bridge": "first0", "isDefaultGateway": true,
		"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.74.0.0/24"}], [{"subnet": "fd74::/64"}]]}}]}`)
	removeLink(t, "first0")
	createNetwork(t, "--subnet", "10.75.0.0/24", "--subnet", "fd75::/64", "second")
	c := ctr{namespace: newCgroup(t), daemon: startContainerd(t)}
	succeed(t, c.command(t, "images", "import", "--snapshotter", snapshotter, buildImage(t)))
	web := c.start(t, "web", "10.74.0.2")
	succeed(t, c.command(t, "containers", "label", "web", "nerdctl/name=shop")) // as nerdctl does, whose records tell no name
	if got := succeed(t, c.fairway(t, "inspect", "-f", "{{range .Containers}}{{.Name}}{{end}}", "first")); got != "shop\n" {
		t.Errorf("the name of the container: got %q, want shop", got)
	}
	netns := "/proc/" + c.pid(t, "web") + "/ns/net"

	succeed(t, c.fairway(t, "connect", "--ip", "10.75.0.20", "--alias", "www", "second", "web"))
	if said := fail(t, c.fairway(t, "connect", "second", "pid:"+c.pid(t, "web"))); !strings.Contains(said, "is already connected to network second") {
		t.Errorf("connect twice: got %q", said)
	}
	ping(t, netns, "10.75.0.1")
	wantGateways(t, netns, "10.74.0.1", "fd74::1")

	succeed(t, c.fairway(t, "disconnect", "first", c.namespace+"-we")) // the beginning of an ID
	wantGateways(t, netns, "10.75.0.1", "fd75::1")
	const containers = "{{range $id, $c := .Containers}}{{$id}} {{$c.Name}} {{$c.IPv4Address}}{{end}}"
	want := c.namespace + "-web shop 10.75.0.20/24\n" // the ID as ctr calls it
	if diff := cmp.Diff(want, succeed(t, c.fairway(t, "inspect", "-f", containers, "second"))); diff != "" {
		t.Errorf("inspect (-want +got):\n%s", diff)
	}
	completed := strings.Split(succeed(t, c.fairway(t, "__completeNoDesc", "disconnect", "second", "")), "\n")
	if completed[0] != "shop" {
		t.Errorf("completion of containers: got %q, want shop", completed)
	}

	web.end(t) // ctr detaches from its own network only
	wantNothing(t, "first")
	if said := fail(t, c.fairway(t, "disconnect", "second", "web")); !strings.Contains(said, "container web not found") {
		t.Errorf("disconnect of a container that has gone: got %q", said)
	}
	if got := succeed(t, c.fairway(t, "gc", "--format", "{{.Network}} {{.ID}} {{.Interface}}")); got != "second "+c.namespace+"-web eth1\n" {
		t.Errorf("gc prints %q", got)
	}
	wantNothing(t, "second")
}

// fairway prepares a run of the command line that finds containers of the daemon.
func (c ctr) fairway(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return with(fairway(t, args...), "CONTAINERD_ADDRESS="+c.daemon.socket)
}

// pid is the number of a container's process.
func (c ctr) pid(t *testing.T, id string) string {
	t.Helper()
	for line := range strings.Lines(succeed(t, c.command(t, "tasks", "ls"))) {
		if fields := strings.Fields(line); fields[0] == id {
			return fields[1]
		}
	}
	t.Fatalf("container %s has no task", id)
	return ""
}

// wantGateways expects the default routes with the least metric to go over these gateways.
func wantGateways(t *testing.T, netns, v4, v6 string) {
	t.Helper()
	got := []string{gatewayOf(t, netns, "-4"), gatewayOf(t, netns, "-6")}
	if diff := cmp.Diff([]string{v4, v6}, got); diff != "" {
		t.Errorf("gateways (-want +got):\n%s", diff)
	}
}

func gatewayOf(t *testing.T, netns, family string) string {
	t.Helper()
	var routes []struct {
		Gateway string
		Metric  int
	}
	out := succeed(t, commandIn(t, netns, "ip", family, "-json", "route", "show", "default"))
	if err := json.Unmarshal([]byte(out), &routes); err != nil || len(routes) == 0 {
		t.Fatalf("default routes %s: %v: %s", family, err, out)
	}
	best := routes[0]
	for _, r := range routes {
		if r.Metric < best.Metric {
			best = r
		}
	}
	return best.Gateway
}
