package e2e

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// fairway prepares a run of the command line, on the directories of the runtimes.
func fairway(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	cmd := command(t, filepath.Join(root, "bin", "fairway"), args...)
	return with(cmd, "NETCONFPATH="+confDir, "CNI_PATH="+pluginDir)
}

// createNetwork makes a network that goes with the test, if that does not remove it itself.
func createNetwork(t *testing.T, args ...string) {
	t.Helper()
	succeed(t, fairway(t, append([]string{"create"}, args...)...))
	name := args[len(args)-1]
	t.Cleanup(func() { succeed(t, fairway(t, "rm", "--force", name)) })
}

// TestFairwayNetworkUnderRuntimes: what fairway makes, every runtime takes as it is, and their containers are seen.
func TestFairwayNetworkUnderRuntimes(t *testing.T) {
	createNetwork(t, "--subnet", "10.68.0.0/24", "--subnet", "fd68::/64", "--aux-address", "printer=10.68.0.3", "boxes")
	t.Run("containers", runEverywhere) // CRI needs the network until its pods are removed
	succeed(t, fairway(t, "rm", "boxes"))
	wantNothing(t, "boxes")
	if bridges := succeed(t, command(t, "ip", "-brief", "link", "show", "type", "bridge")); bridges != "" {
		t.Errorf("bridges left: %s", bridges)
	}
}

// runEverywhere runs a container on the network boxes under each runtime, and ends them.
func runEverywhere(t *testing.T) {
	o := newOutside(t)
	o.mirror(t)
	daemon := startContainerd(t)
	c := ctr{namespace: newCgroup(t), daemon: daemon}
	succeed(t, c.command(t, "images", "import", "--snapshotter", snapshotter, buildImage(t)))
	k, p := newKubelet(t, daemon), newPodman(t)
	hand := testnet.NewNS(t, "hand")

	web := c.start(t, "web", "10.68.0.2")
	pod := k.run(t, "pod") // 10.68.0.3 is the printer's
	if diff := cmp.Diff([]string{"10.68.0.4", "fd68::3"}, pod.addresses); diff != "" {
		t.Errorf("addresses of the pod (-want +got):\n%s", diff)
	}
	succeed(t, p.command(t, "run", "--detach", "--name", "box", "--cgroup-parent", p.cgroup, "--network", "boxes", "--publish", "8080:80", imageName))
	wantAddresses(t, succeed(t, cnitool(t, "add", "boxes", hand)), "10.68.0.6/24", "fd68::5/64")
	succeed(t, cnitool(t, "check", "boxes", hand))

	o.wantMasqueraded(t, hand)
	o.wantPage(t, "http://"+hostV4+":8080/", webPage)
	shell := k.start(t, pod, "shell")
	for _, url := range []string{"http://10.68.0.2/", "http://10.68.0.5/", "http://[fd68::4]/"} {
		if got := k.execute(t, shell, "wget", "-q", "-O-", url); got != webPage {
			t.Errorf("%s from a pod: got %q, want %q", url, got, webPage)
		}
	}
	if got := strings.TrimSpace(succeed(t, p.command(t, "network", "ls", "--filter", "name=boxes", "--format", "{{.Name}} {{.Driver}}"))); got != "boxes bridge" {
		t.Errorf("podman network ls: got %q", got)
	}

	wantSeen(t)
	wantPortsBack(t, p, o)
	web.end(t)
	k.stop(t, pod)
	succeed(t, p.command(t, "rm", "--force", "--time", "0", "box"))
	succeed(t, cnitool(t, "del", "boxes", hand))
}

// wantPortsBack takes a container of podman from its network and brings it back, with the port that podman published.
func wantPortsBack(t *testing.T, p podman, o outside) {
	t.Helper()
	pid := strings.TrimSpace(succeed(t, p.command(t, "inspect", "--format", "{{.State.Pid}}", "box")))
	succeed(t, fairway(t, "disconnect", "boxes", "box"))
	if _, _, err := run(commandIn(t, o.ns.Path, "busybox", "wget", "-q", "-T", "2", "-O-", "http://"+hostV4+":8080/")); err == nil {
		t.Error("the port answers although its container is disconnected")
	}
	succeed(t, fairway(t, "connect", "boxes", "pid:"+pid))
	o.wantPage(t, "http://"+hostV4+":8080/", webPage)
	succeed(t, fairway(t, "disconnect", "boxes", "pid:"+pid))
}

// wantSeen expects the command line to know the containers of all runtimes.
func wantSeen(t *testing.T) {
	t.Helper()
	const addresses = "{{range .Containers}}{{.IPv4Address}} {{.IPv6Address}}{{println}}{{end}}"
	want := "10.68.0.2/24 fd68::2/64, 10.68.0.4/24 fd68::3/64, 10.68.0.5/24 fd68::4/64, 10.68.0.6/24 fd68::5/64"
	if got := sortedLines(succeed(t, fairway(t, "inspect", "-f", addresses, "boxes"))); got != want {
		t.Errorf("containers: got %s, want %s", got, want)
	}
	said := fail(t, fairway(t, "rm", "boxes"))
	for _, name := range []string{"network boxes is in use by containers", "box", "pod", "web"} {
		if !strings.Contains(said, name) {
			t.Errorf("rm of a network in use: got %q, want it to name %s", said, name)
		}
	}
}

// sortedLines joins the lines of a text, for comparison.
func sortedLines(text string) string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}

// TestForeignNetworks: networks of nerdctl, which lie in a directory for each containerd namespace, of podman and made by hand are listed,
// inspected, used and removed, and neither their names nor their subnets are given to another; a broken file is a warning.
func TestForeignNetworks(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	nerdctl := succeed(t, command(t, "cat", filepath.Join(root, "conflist-examples", "nerdctl.conflist")))
	for name, text := range map[string]string{
		"default/nerdctl-shop.conflist": nerdctl,
		"hand.conf":                     `{"cniVersion": "1.0.0", "name": "hand", "type": "macvlan", "master": "uplink", "ipam": {"type": "dhcp"}}`,
		"99-broken.conflist":            `{"name": "broken", `,
	} {
		if err := os.MkdirAll(filepath.Join(confDir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(confDir, name), text)
	}
	p := newPodman(t)
	succeed(t, p.command(t, "network", "create", "--subnet", "10.69.0.0/24", "--label", "by=podman", "pod-net"))
	t.Cleanup(func() { succeed(t, p.command(t, "network", "rm", "--force", "pod-net")) })

	list := fairway(t, "ls", "--format", "{{.Name}} {{.Driver}} {{.Labels}}", "--filter", "type=custom")
	stdout, stderr, err := run(list)
	if err != nil || !strings.Contains(stderr, "fairway: warning: left out: "+confDir+"/99-broken.conflist") {
		t.Errorf("ls: %v, stderr %q", err, stderr)
	}
	if want := "hand macvlan \npod-net bridge by=podman\nshop bridge com.example.team=shop\n"; stdout != want {
		t.Errorf("ls (-want +got):\n%s", cmp.Diff(want, stdout))
	}

	var shown []struct {
		IPAM struct {
			Config []struct{ Subnet, Gateway string }
		}
	}
	out, _, err := run(fairway(t, "inspect", "8d9001d32c6a", "pod-net"))
	if err != nil || json.Unmarshal([]byte(out), &shown) != nil || len(shown) != 2 {
		t.Fatalf("inspect: %v\n%s", err, out)
	}
	if a, b := shown[0].IPAM.Config[0], shown[1].IPAM.Config[0]; a.Subnet != "10.4.1.0/24" || a.Gateway != "10.4.1.1" || b.Subnet != "10.69.0.0/24" {
		t.Errorf("subnets: got %+v and %+v", a, b)
	}
	for _, clash := range []struct{ subnet, name, want string }{
		{"10.69.0.128/25", "clash", "subnet 10.69.0.128/25 overlaps 10.69.0.0/24 of network pod-net"},
		{"10.4.1.0/24", "clash", "subnet 10.4.1.0/24 overlaps 10.4.1.0/24 of network shop"},
		{"10.71.0.0/24", "shop", "network with name shop already exists"},
	} {
		if said := fail(t, fairway(t, "create", "--subnet", clash.subnet, clash.name)); !strings.Contains(said, clash.want) {
			t.Errorf("create %s: got %q, want %q", clash.name, said, clash.want)
		}
	}
	succeed(t, fairway(t, "rm", "shop"))
	if _, err := os.Stat(filepath.Join(confDir, "default", "nerdctl-shop.conflist")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file of the network that was removed: %v", err)
	}
}

// writeFile writes a file that goes with the test.
func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
}
