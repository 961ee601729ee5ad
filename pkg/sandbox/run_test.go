package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/attachment"
)

// newRun prepares a process that calls Run.
func newRun(t *testing.T, s runSpec) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), self, s.text())
	cmd.Args[0] = nameRun
	return cmd
}

// run gives what a sandbox prints on both outputs, and its exit status.
func run(t *testing.T, s runSpec) (said string, status int) {
	t.Helper()
	out, err := newRun(t, s).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		status = exit.ExitCode()
	}
	return string(out), status
}

func shellSpec(script string) runSpec {
	return runSpec{Spec: Spec{ID: "c1", Name: "web", Command: []string{"sh", "-c", script}}}
}

func TestStatus(t *testing.T) {
	for _, test := range []struct {
		name    string
		command []string
		status  int
		says    string
	}{
		{"success", []string{"true"}, 0, ""},
		{"failure", []string{"sh", "-c", "exit 7"}, 7, ""},
		{"signal", []string{"sh", "-c", "kill -KILL $$"}, 137, ""},
		{"no such command", []string{"no-such-command"}, 127, "fairway: no-such-command: executable file not found in $PATH of this machine, whose commands are what can be run: there are no images\n"},
		{"no such file", []string{"/no/such/command"}, 127, "fairway: /no/such/command: no such file or directory\n"},
		{"not executable", []string{"/etc/passwd"}, 126, "fairway: /etc/passwd: permission denied\n"},
		{"orphans are waited for", []string{"sh", "-c", "(sleep 0.01 &) ; (exit 3 &) ; exit 4"}, 4, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			said, status := run(t, runSpec{Spec: Spec{ID: "c1", Name: "web", Command: test.command}})
			if status != test.status || said != test.says {
				t.Errorf("got %d, %q; want %d, %q", status, said, test.status, test.says)
			}
		})
	}
}

// TestInside is what the command sees.
func TestInside(t *testing.T) {
	s := shellSpec(`hostname; cat /etc/hosts; cat /etc/resolv.conf; ls /sys/class/net; echo $GREETING; head -c2 /proc/self/stat; echo
ip -br link | cut -d' ' -f1; ip -br addr show lo | grep -c 127.0.0.1; ls /sys/fs/cgroup | wc -l`)
	s.Hostname, s.Env = "www", []string{"GREETING=hello"}
	s.Etc = &Etc{Hostname: "www", Names: []string{"web"}, Resolv: "nameserver 192.0.2.1\n"}
	said, status := run(t, s)
	groups, err := os.ReadDir("/sys/fs/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	want := "www\n" + loopbackHosts + "nameserver 192.0.2.1\nlo\nhello\n"
	rest, ok := strings.CutPrefix(said, want)
	if !ok || status != 0 {
		t.Fatalf("status %d (-want +got):\n%s", status, cmp.Diff(want, said))
	}
	lines := strings.Split(rest, "\n")
	if len(lines[0]) > 2 {
		t.Errorf("number of a process inside: %s", lines[0])
	}
	if diff := cmp.Diff([]string{"lo", "1", fmt.Sprint(len(groups))}, lines[1:4]); diff != "" {
		t.Errorf("links, 127.0.0.1, control groups (-want +got):\n%s", diff)
	}
	hosts, err := os.ReadFile("/etc/hosts")
	if err != nil || strings.Contains(string(hosts), "www") {
		t.Errorf("the host's /etc/hosts: %s, %v", hosts, err)
	}
}

func TestHostNetwork(t *testing.T) {
	link, err := os.Readlink(ownNetns)
	if err != nil {
		t.Fatal(err)
	}
	s := shellSpec("readlink /proc/self/ns/net; hostname")
	s.HostNetwork = true
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if said, status := run(t, s); status != 0 || said != link+"\n"+name+"\n" {
		t.Errorf("got %d, %s; want %s", status, said, link)
	}
}

func TestSignals(t *testing.T) {
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1} {
		t.Run(unix.SignalName(s), func(t *testing.T) {
			cmd := newRun(t, shellSpec(`trap 'echo got it; exit 9' `+strings.TrimPrefix(unix.SignalName(s), "SIG")+`; echo ready; while :; do sleep 0.01; done`))
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			expect(t, stdout, "ready\n")
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			expect(t, stdout, "got it\n")
			if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 9 {
				t.Errorf("got %v, want exit status 9", err)
			}
		})
	}
}

// expect reads just this text.
func expect(t *testing.T, from io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(from, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v; want %q", got[:n], err, want)
	}
}

// TestKilled: a SIGKILL leaves no process and no attachment. The pipe ends when all who write to it have ended.
func TestKilled(t *testing.T) {
	p := newPlugin(t)
	s := shellSpec(`setsid sleep 1000 & echo ready; sleep 1000`)
	s.Networks, s.Plugins, s.Cache = []string{p.conf("lamp")}, []string{p.dir}, t.TempDir()
	cmd := newRun(t, s)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	expect(t, stdout, "ready\n")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(stdout); err != nil || len(rest) > 0 {
		t.Errorf("after the end: %s, %v", rest, err)
	}
	if rest, err := io.ReadAll(stderr); err != nil || len(rest) > 0 { // the keeper ends last
		t.Errorf("after the end: %s, %v", rest, err)
	}
	_ = cmd.Wait() // it was killed
	p.wantCalls(t, "ADD c1 eth0", "DEL c1 eth0")
	if left, err := os.ReadDir(filepath.Join(s.Cache, "results")); err != nil || len(left) > 0 {
		t.Errorf("left in the cache: %v, %v", left, err)
	}
}

func TestAttach(t *testing.T) {
	p := newPlugin(t)
	s := shellSpec("echo running")
	s.Networks, s.Plugins, s.Cache = []string{p.conf("lamp"), p.conf("second")}, []string{p.dir}, t.TempDir()
	if said, status := run(t, s); status != 0 || said != "running\n" {
		t.Errorf("got %d, %s", status, said)
	}
	p.wantCalls(t, "ADD c1 eth0", "ADD c1 eth1", "DEL c1 eth1", "DEL c1 eth0")
	if netns := p.read(t, "netns"); !strings.HasPrefix(netns, "/proc/") || !strings.HasSuffix(netns, "/fd/3\n") {
		t.Errorf("namespace: %s", netns)
	}
}

// TestAttachFails: the command is not run, and the network before is detached.
func TestAttachFails(t *testing.T) {
	p := newPlugin(t)
	s := shellSpec("echo running")
	s.Networks, s.Plugins, s.Cache = []string{p.conf("lamp"), p.conf("broken")}, []string{p.dir}, t.TempDir()
	if said, status := run(t, s); status != 125 || said != "error: network broken: no address is free\n" {
		t.Errorf("got %d, %s", status, said)
	}
	p.wantCalls(t, "ADD c1 eth0", "ADD c1 eth1", "DEL c1 eth1", "DEL c1 eth0")
}

func TestDetachFails(t *testing.T) {
	p := newPlugin(t)
	s := shellSpec("echo running")
	s.Networks, s.Plugins, s.Cache = []string{p.conf("stuck")}, []string{p.dir}, t.TempDir()
	said, status := run(t, s)
	want := "running\nfairway: network stuck: the link is busy\n" +
		"error: not all of the container's networks could be detached (exit status 1): \"fairway gc\" tries again\n"
	if status != 125 || said != want {
		t.Errorf("got %d (-want +got):\n%s", status, cmp.Diff(want, said))
	}
}

// plugin notes how it is called. It fails to attach to the network "broken", and to detach from "stuck".
type plugin struct{ dir string }

func newPlugin(t *testing.T) plugin {
	t.Helper()
	p := plugin{dir: t.TempDir()}
	script := fmt.Sprintf(`#!/bin/sh
cd '%s' || exit 1
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME" >>calls
echo "$CNI_NETNS" >netns
case "$CNI_COMMAND $(cat)" in
*ADD*'"broken"'*) echo '{"code": 11, "msg": "no address is free"}'; exit 1 ;;
*DEL*'"stuck"'*) echo '{"code": 5, "msg": "the link is busy"}'; exit 1 ;;
ADD*) nsenter --net="$CNI_NETNS" ip link add "$CNI_IFNAME" type bridge
	echo '{"cniVersion": "1.0.0", "interfaces": [{"name": "'$CNI_IFNAME'", "sandbox": "'$CNI_NETNS'"}]}' ;;
esac
`, p.dir)
	if err := os.WriteFile(filepath.Join(p.dir, "noting"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p plugin) conf(network string) string {
	return fmt.Sprintf(`{"cniVersion": "1.0.0", "name": %q, "plugins": [{"type": "noting"}]}`, network)
}

func (p plugin) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (p plugin) wantCalls(t *testing.T, want ...string) {
	t.Helper()
	got := strings.Split(string(bytes.TrimSpace([]byte(p.read(t, "calls")))), "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// TestKeeperKilled: without the keeper the command ends, and Run's process detaches.
func TestKeeperKilled(t *testing.T) {
	p := newPlugin(t)
	s := shellSpec("echo ready; sleep 1000")
	s.Networks, s.Plugins, s.Cache = []string{p.conf("lamp"), p.conf("back")}, []string{p.dir}, t.TempDir()
	cmd := newRun(t, s)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	expect(t, stdout, "ready\n")
	_, after, _ := strings.Cut(p.read(t, "netns"), "/proc/")
	number, _, _ := strings.Cut(after, "/")
	keeper, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(keeper, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it says so itself
	if want := "error: " + errKeeperGone.Error() + "\n"; said.String() != want {
		t.Errorf("got %q, want %q", said.String(), want)
	}
	p.wantCalls(t, "ADD c1 eth0", "ADD c1 eth1", "DEL c1 eth0", "DEL c1 eth1")
	if want := fmt.Sprintf("/proc/%d/fd/", cmd.Process.Pid); !strings.HasPrefix(p.read(t, "netns"), want) {
		t.Errorf("DEL got the namespace %s, want it in %s", p.read(t, "netns"), want)
	}
	if left, err := (attachment.Runtime{Cache: s.Cache}).List(); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
