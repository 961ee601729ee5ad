package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// podman has its own storage and networks for one test.
type podman struct {
	env    []string
	cgroup string
}

// podmanConf selects the CNI backend. The limits are podman's defaults, lowered to what a machine may forbid to raise.
const podmanConf = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
[network]
network_backend = "cni"
network_config_dir = %q
cni_plugin_dirs = [%q]
`

// storageConf keeps layers as plain directories, which every file system can hold.
const storageConf = `[storage]
driver = "vfs"
graphroot = %q
runroot = %q
`

func TestPodman(t *testing.T) {
	writeConf(t, `{
		"cniVersion": "1.0.0",
		"name": "boxes",
		"plugins": [
			{"type": "bridge", "bridge": "boxes0", "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": {
				"type": "host-local",
				"routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
				"ranges": [[{"subnet": "10.68.0.0/24", "gateway": "10.68.0.1"}], [{"subnet": "fd68::/64", "gateway": "fd68::1"}]]}},
			{"type": "portmap", "capabilities": {"portMappings": true}},
			{"type": "firewall"},
			{"type": "tuning"}
		]
	}`)
	o := newOutside(t)
	o.mirror(t)
	removeLink(t, "boxes0")
	p := newPodman(t)

	succeed(t, p.command(t, "run", "--detach", "--name", "web", "--cgroup-parent", p.cgroup, "--network", "boxes",
		"--publish", "8080:80", imageName))
	t.Cleanup(func() { _, _, _ = run(p.command(t, "rm", "--force", "--time", "0", "web")) }) // a test that passes has removed it
	wantAddress(t, p, "web", "10.68.0.2 fd68::2")

	for _, url := range []string{"http://10.68.0.2/", "http://[fd68::2]/"} {
		if got := p.once(t, "wget", "-q", "-O-", url); got != webPage {
			t.Errorf("%s from another container: got %q, want %q", url, got, webPage)
		}
	}
	if got := p.once(t, "nc", outsideV4, mirrorPort); got != hostV4 {
		t.Errorf("address seen by the outside: got %q, want %q", got, hostV4)
	}
	o.wantPage(t, "http://"+net.JoinHostPort(hostV4, "8080")+"/", webPage)

	succeed(t, p.command(t, "rm", "--force", "--time", "0", "web"))
	wantNothing(t, "boxes")
}

func newPodman(t *testing.T) podman {
	t.Helper()
	dir := t.TempDir()
	runRoot, err := os.MkdirTemp("/run", "podman") // a test's own directory is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	conf, storage := filepath.Join(dir, "containers.conf"), filepath.Join(dir, "storage.conf")
	for path, text := range map[string]string{
		conf:    fmt.Sprintf(podmanConf, confDir, pluginDir),
		storage: fmt.Sprintf(storageConf, filepath.Join(dir, "graph"), runRoot),
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := podman{env: []string{"CONTAINERS_CONF=" + conf, "CONTAINERS_STORAGE_CONF=" + storage}, cgroup: newCgroup(t)}
	succeed(t, p.command(t, "load", "--input", buildImage(t)))
	return p
}

func (p podman) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return with(command(t, "podman", args...), p.env...)
}

// once runs an applet of busybox in a container of its own and gives back what it printed.
func (p podman) once(t *testing.T, applet ...string) string {
	t.Helper()
	args := []string{"run", "--rm", "--cgroup-parent", p.cgroup, "--network", "boxes", imageName}
	return succeed(t, p.command(t, append(args, applet...)...))
}

// wantAddress compares what podman tells about a container.
func wantAddress(t *testing.T, p podman, name, want string) {
	t.Helper()
	const format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}}{{end}}"
	got := strings.TrimSpace(succeed(t, p.command(t, "inspect", "--format", format, name)))
	if got != want {
		t.Errorf("addresses of %s: got %q, want %q", name, got, want)
	}
}
