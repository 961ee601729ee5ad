package sandbox

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/attachment"
)

var kills = flag.Int("kills", 10, "how many containers TestKilledAtAnyMoment kills")

// holding is a plugin that holds a file for each attachment, as others hold an address. An ADD takes it before it is slow, and DEL may be
// repeated.
func holding(t *testing.T, slow string) plugin {
	t.Helper()
	p := plugin{dir: t.TempDir()}
	script := fmt.Sprintf(`#!/bin/sh
cd '%s' || exit 1
name=$(sed 's/.*"name": *"\([a-z]*\)".*/\1/')
[ -n "$name" ] || exit 1 # killed with what reads it
case "$CNI_COMMAND" in
ADD) echo >"held/$name-$CNI_CONTAINERID-$CNI_IFNAME"; echo "$name" >>added
	sleep %s
	echo '{"cniVersion": "1.0.0", "interfaces": [{"name": "'$CNI_IFNAME'", "sandbox": "'$CNI_NETNS'"}]}' ;;
DEL) rm -f "held/$name-$CNI_CONTAINERID-$CNI_IFNAME" ;;
esac
`, p.dir, slow)
	if err := os.WriteFile(filepath.Join(p.dir, "noting"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(p.dir, "held"), 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

// held waits until nothing is held, which the processes of a killed container see to, and gives what is.
func (p plugin) held(t *testing.T, patience time.Duration) (names []string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		entries, err := os.ReadDir(filepath.Join(p.dir, "held"))
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 || time.Now().After(end) {
			for _, e := range entries {
				names = append(names, e.Name())
			}
			return names
		}
	}
}

// TestKilledAtAnyMoment: whatever is killed, the process that was called, its keeper, the first process of the container, or all of them, and
// whenever: the collector finds what is left.
func TestKilledAtAnyMoment(t *testing.T) {
	p := holding(t, "0.03")
	cache := t.TempDir()
	r := attachment.Runtime{Cache: cache, Plugins: []string{p.dir}, Stderr: os.Stderr}
	for i := range *kills {
		s := shellSpec("sleep 0.1")
		s.ID, s.Name = fmt.Sprintf("c%d", i), "web"
		s.Networks, s.Plugins, s.Cache = []string{p.conf("lamp"), p.conf("back")}, []string{p.dir}, cache
		cmd := newRun(t, s)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(250)) * time.Millisecond)
		children := childrenOf(cmd.Process.Pid)
		victims := [][]int{{cmd.Process.Pid}, children, append([]int{cmd.Process.Pid}, children...)}[rand.IntN(3)]
		for _, pid := range victims {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
		}
		_ = cmd.Wait() // it was killed
		for _, pid := range children {
			awaitProcess(pid)
		}
	}
	if _, err := r.Collect(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if left := p.held(t, 20*time.Second); len(left) > 0 {
		t.Errorf("%d kills left %v", *kills, left)
	}
	for _, dir := range []string{"results", "fairway/attaching"} {
		if left, err := os.ReadDir(filepath.Join(cache, dir)); err == nil && len(left) > 0 {
			t.Errorf("left in %s: %v", dir, left)
		}
	}
}

// childrenOf are the processes that Run has started.
func childrenOf(pid int) (children []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // none, once it has ended
	for _, path := range tasks {
		text, _ := os.ReadFile(path)
		for _, field := range strings.Fields(string(text)) {
			var child int
			if _, err := fmt.Sscan(field, &child); err == nil {
				children = append(children, child)
			}
		}
	}
	return children
}

// awaitProcess waits for the end of a process that is somebody else's child.
func awaitProcess(pid int) {
	for range 3000 {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || strings.Contains(string(stat), ") Z") {
			return // or nobody has waited for it yet
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestInterruptedWhileAttaching: who asks for the end of a container that is still being attached is heard, and nothing is left.
func TestInterruptedWhileAttaching(t *testing.T) {
	for _, s := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			p := holding(t, "600")
			spec := shellSpec("echo running")
			spec.Networks, spec.Plugins, spec.Cache = []string{p.conf("lamp")}, []string{p.dir}, t.TempDir()
			cmd := newRun(t, spec)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for {
				if _, err := os.Stat(filepath.Join(p.dir, "added")); err == nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // its status says how
			if got, want := cmd.ProcessState.ExitCode(), signalStatus(s); got != want {
				t.Errorf("status %d, want %d", got, want)
			}
			if left := p.held(t, 20*time.Second); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// TestNohup: a signal that the caller ignores is ignored by the command as well.
func TestNohup(t *testing.T) {
	spec := shellSpec("echo ready; read line; echo done")
	spec.HostNetwork, spec.Cache = true, t.TempDir()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `trap '' HUP INT; exec -a `+nameRun+` "$0" "$1"`, self, spec.text())
	cmd.Path, cmd.Args[0] = "/bin/bash", "bash"
	cmd.Args[3] = fmt.Sprintf("/proc/%d/exe", os.Getpid())
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	expect(t, stdout, "ready\n")
	for _, s := range []syscall.Signal{unix.SIGHUP, unix.SIGINT} {
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, child := range childrenOf(cmd.Process.Pid) {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", child))
		if err != nil {
			t.Error(err)
		}
		if name := string(status); strings.Contains(name, nameInit) && !strings.Contains(name, "SigIgn:\t0000000000000003") {
			t.Errorf("signals of the first process:\n%s", status)
		}
	}
	if _, err := stdin.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	expect(t, stdout, "done\n")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestOneName: of several containers that are started with one name at once, one runs.
func TestOneName(t *testing.T) {
	p := holding(t, "0")
	cache := t.TempDir()
	var group sync.WaitGroup
	statuses := make([]int, 5)
	said := make([]string, len(statuses))
	release := filepath.Join(p.dir, "release")
	for i := range statuses {
		s := shellSpec("while ! [ -e " + release + " ]; do sleep 0.05; done")
		s.ID, s.Networks, s.Plugins, s.Cache = fmt.Sprintf("c%d", i), []string{p.conf("lamp")}, []string{p.dir}, cache
		group.Go(func() { said[i], statuses[i] = run(t, s) })
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		// The one that runs is in the cache; the others have ended by then, or will.
		if entries, _ := os.ReadDir(filepath.Join(cache, "results")); len(entries) > 0 || time.Now().After(end) {
			break
		}
	}
	time.Sleep(200 * time.Millisecond)
	if err := os.WriteFile(release, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	group.Wait()
	ran := 0
	for i, status := range statuses {
		switch {
		case status == 0:
			ran++
		case status != 125 || !strings.Contains(said[i], "error: web is the name of another container, locked by process"):
			t.Errorf("status %d, %s", status, said[i])
		}
	}
	if ran != 1 {
		t.Errorf("%d of %d ran", ran, len(statuses))
	}
	// The name is free again.
	s := shellSpec("true")
	s.Networks, s.Plugins, s.Cache = []string{p.conf("lamp")}, []string{p.dir}, cache
	if said, status := run(t, s); status != 0 {
		t.Errorf("afterwards: status %d, %s", status, said)
	}
	if left, err := os.ReadDir(filepath.Join(cache, "fairway", "containers")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
