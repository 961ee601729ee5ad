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

// startContainerd runs a containerd until the test ends. Its networks have to be in confDir before.
func startContainerd(t *testing.T) containerd {
	t.Helper()
	state, err := os.MkdirTemp("/run", "containerd") // a test's own directory is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	d := containerd{socket: filepath.Join(state, "containerd.sock"), log: new(transcript)}
	conf := filepath.Join(t.TempDir(), "config.toml")
	text := fmt.Sprintf(containerdConf, t.TempDir(), state, imageName, snapshotter, pluginDir, confDir)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}

	daemon := exec.Command("containerd", "--config", conf)
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
