package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// containerd is a daemon for one test, with directories of its own.
type containerd struct {
	socket string
	log    *transcript
}

// snapshotter copies layers: overlayfs, the default one, does not work where /tmp is an overlay itself.
const snapshotter = "native"

// containerds are the releases that tests run: Debian's, and the current one, which asks networks of cniVersion 1.1.0 for their STATUS.
var containerds = map[string]func(t *testing.T) containerd{"1.6": startContainerd, "2": startContainerd2}

// containerdConf lets CRI run inside a machine that forbids to lower an OOM score, or to load AppArmor profiles.
const containerdConf = `version = 2
root = %[1]q
state = %[2]q
[grpc]
address = "%[2]s/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
restrict_oom_score_adj = true
disable_apparmor = true
sandbox_image = %[3]q
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = %[4]q
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = %[5]q
conf_dir = %[6]q
`

// containerd2Conf is the same for containerd 2.
const containerd2Conf = `version = 3
root = %[1]q
state = %[2]q
[grpc]
address = "%[2]s/containerd.sock"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = [%[5]q]
conf_dir = %[6]q
[plugins."io.containerd.cri.v1.images"]
snapshotter = %[4]q
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = %[3]q
[plugins."io.containerd.transfer.v1.local"]
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
platform = "linux"
snapshotter = %[4]q
`

// startContainerd runs Debian's containerd until the test ends. Its networks have to be in confDir before.
func startContainerd(t *testing.T) containerd {
	t.Helper()
	return startDaemon(t, "containerd", containerdConf)
}

// startContainerd2 runs the current containerd, as startContainerd does Debian's.
func startContainerd2(t *testing.T) containerd {
	t.Helper()
	return startDaemon(t, tool(t, "containerd"), containerd2Conf)
}

// tool is what scripts/install-test-tools has built.
func tool(t *testing.T, name string) string {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, ".tools", name)
}

// startDaemon runs a containerd, whose shim lies beside it, with a configuration.
func startDaemon(t *testing.T, program, format string) containerd {
	t.Helper()
	state, err := os.MkdirTemp("/run", "containerd") // a test's own directory is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	d := containerd{socket: filepath.Join(state, "containerd.sock"), log: new(transcript)}
	conf := filepath.Join(t.TempDir(), "config.toml")
	text := fmt.Sprintf(format, t.TempDir(), state, imageName, snapshotter, pluginDir, confDir)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}

	daemon := exec.Command(program, "--config", conf)
	if filepath.IsAbs(program) {
		daemon.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
	}
	daemon.Stdout, daemon.Stderr = d.log, d.log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.stop(t, daemon) })
	d.awaitAnswer(t)
	return d
}

// awaitAnswer waits until the daemon serves.
func (d containerd) awaitAnswer(t *testing.T) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		_, said, err := run(command(t, "ctr", "--address", d.socket, "--connect-timeout", "1s", "version"))
		if err == nil {
			return
		}
		if time.Since(start) > 20*time.Second {
			t.Fatalf("containerd does not answer: %s", said)
		}
	}
}

// stop ends the daemon, and shows the end of its log when the test has failed.
func (d containerd) stop(t *testing.T, daemon *exec.Cmd) {
	t.Helper()
	killer := time.AfterFunc(10*time.Second, func() { _ = daemon.Process.Kill() }) // Wait tells how it ended
	defer killer.Stop()
	if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := daemon.Wait(); err != nil {
		t.Errorf("containerd: %v", err)
	}
	if t.Failed() {
		t.Logf("containerd's log:\n%s", tail(d.log.String(), 40))
	}
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
