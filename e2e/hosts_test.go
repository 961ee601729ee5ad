package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// hostsDir is where scripts/hosts keeps what it has.
const hostsDir = "/run/fairway-hosts"

// typedHosts prepares what a person types in the project's directory.
func typedHosts(t *testing.T, line string) *exec.Cmd {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	cmd := command(t, "bash", "-c", line)
	cmd.Dir = root
	return cmd
}

// TestHostsOfReadme types what the README shows, with a container on the first host that the second reaches.
func TestHostsOfReadme(t *testing.T) {
	before := lookAround(t)
	lines := readmeHosts(t)
	for _, line := range lines {
		switch {
		case line == "make": // the tests run in a built tree
		case strings.Contains(line, " exec 2 fairway run "):
			var stdout string
			eventually(t, "host2 has the network: "+line, func() bool {
				var err error
				stdout, _, err = run(typedHosts(t, line))
				return err == nil
			})
			if !strings.Contains(stdout, "inet 10.42.") {
				t.Errorf("%s: got no address of the network:\n%s", line, stdout)
			}
			reachHost1(t)
		default:
			succeed(t, typedHosts(t, line))
		}
	}
	before.same(t)
}

// readmeHosts are the lines of the README's block about hosts.
func readmeHosts(t *testing.T) []string {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		if strings.Contains(block[1], "scripts/hosts up") {
			takeDown(t)
			return strings.Split(strings.TrimSpace(block[1]), "\n")
		}
	}
	t.Fatal("the README does not show scripts/hosts")
	return nil
}

// takeDown removes the hosts of a test that has failed. All of them end with the tests at the latest.
func takeDown(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		if exists(hostsDir) {
			t.Error(succeed(t, typedHosts(t, "scripts/hosts ls; tail -n20 "+hostsDir+"/up/*/*.log; scripts/hosts down")))
		}
	})
}

// reachHost1 sends a packet from a container of host2 to one of host1.
func reachHost1(t *testing.T) {
	t.Helper()
	web := runShellBy(t, typedHosts(t, "scripts/hosts exec 1 fairway run --network blue --name web sh"))
	const address = "{{range .Containers}}{{.IPv4Address}}{{end}}"
	shown := succeed(t, typedHosts(t, "scripts/hosts exec 1 fairway inspect -f '"+address+"' blue"))
	addr, _, _ := strings.Cut(shown, "/")
	succeed(t, typedHosts(t, "scripts/hosts exec 2 fairway run --network blue -- busybox ping -c1 -w30 "+addr))
	web.end(t)
}

// TestHostsTool: each command says what it cannot do, and passes on what belongs to the program on a host.
func TestHostsTool(t *testing.T) {
	before := lookAround(t)
	takeDown(t)
	for _, line := range []string{"ls", "down", "exec 1 true", "exec 1"} {
		refuseHosts(t, line, 1, "no hosts are up: `scripts/hosts up 3` raises three")
	}
	// A terminal that closes behind it ends nothing.
	succeed(t, typedHosts(t, "script --quiet --return --command 'scripts/hosts up 2' /dev/null"))
	want := `HOST       ADDRESSES                  ETCD        PROCESSES   AGENT
host1      192.0.2.11, 2001:db8::11   connected   1           healthy
host2      192.0.2.12, 2001:db8::12   connected   1           healthy
underlay   192.0.2.1, 2001:db8::1     runs here   1           -
`
	if diff := cmp.Diff(want, succeed(t, typedHosts(t, "scripts/hosts ls"))); diff != "" {
		t.Errorf("ls (-want +got):\n%s", diff)
	}
	for line, want := range map[string]string{
		"up 2":               "hosts are up already",
		"exec 3 true":        "there is no host 3: give 1 to 2, or underlay",
		"exec 1 sh -c false": "",
	} {
		refuseHosts(t, line, 1, want)
	}
	for _, line := range []string{"", " up 0", " up many", " up 1 2", " down 1", " ls 1", " exec", " raise"} {
		if line != "" {
			refuseHosts(t, line, 2, "see scripts/hosts help")
			continue
		}
		if said := succeed(t, typedHosts(t, "scripts/hosts")); !strings.Contains(said, "scripts/hosts up [N]") {
			t.Errorf("help: %s", said)
		}
	}
	refuseHosts(t, "exec 1 no-such-command", 127, "no-such-command")
	refuseHosts(t, "exec 1 /etc/passwd", 126, "/etc/passwd")
	refuseHosts(t, "exec 1 sh -c 'exit 42'", 42, "")
	for line, want := range map[string]string{
		"echo typed | scripts/hosts exec 2 cat":                                                          "typed\n",
		"echo hostname | SHELL=/bin/sh scripts/hosts exec 2":                                             "host2\n",
		"scripts/hosts exec host1 -- hostname":                                                           "host1\n",
		"cd docs && ../scripts/hosts exec 1 ls design.md":                                                "design.md\n",
		"cd /run/fairway-hosts && $OLDPWD/scripts/hosts exec 1 pwd -P":                                   "/\n",
		"scripts/hosts exec 1 etcdctl get --prefix /fairway/v1/alive/ --keys-only | grep -c /":           "2\n",
		"scripts/hosts exec 1 sh -c 'fairway --version >/dev/null && bridge fdb show dev lo && ls /run'": "fairway\nnetns\n",
		"scripts/hosts exec 1 sh -c 'which fairway overlay-vxlan cnitool' | sed s:^$PWD::":               "/bin/tools/fairway\n/bin/overlay-vxlan\n/.tools/cnitool\n",
	} {
		if got := succeed(t, typedHosts(t, line)); got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
	signalled(t)
	succeed(t, typedHosts(t, "scripts/hosts down"))
	before.same(t)
}

// refuseHosts expects an exit status and a sentence.
func refuseHosts(t *testing.T, line string, status int, want string) {
	t.Helper()
	_, stderr, err := run(typedHosts(t, "scripts/hosts "+line))
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != status || !strings.Contains(stderr, want) || strings.Count(stderr, "\n") > 1 {
		t.Errorf("scripts/hosts %s: %v: %q; want status %d and one line with %q", line, err, stderr, status, want)
	}
}

// signalled expects that a signal for scripts/hosts reaches what runs on the host.
func signalled(t *testing.T) {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	shell := runShellBy(t, command(t, filepath.Join(root, "scripts", "hosts"), "exec", "1", "sh"))
	shell.say(t, "trap 'echo caught' USR1; echo trapped", "trapped\n")
	if err := shell.cmd.Process.Signal(unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	shell.say(t, "", "caught\n")
	shell.end(t)
}

// TestHostsKilled: nothing is left by `down`, whatever was killed before.
func TestHostsKilled(t *testing.T) {
	before := lookAround(t)
	takeDown(t)
	t.Run("holders", func(t *testing.T) {
		succeed(t, typedHosts(t, "scripts/hosts up 2"))
		web := runShellBy(t, typedHosts(t, "scripts/hosts exec 1 fairway run --network none sh"))
		hidden := runShellBy(t, typedHosts(t, "scripts/hosts exec 2 env -i /bin/sh"))
		for _, pid := range holders(t) {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			awaitDeath(t, pid)
		}
		refuseHosts(t, "exec 1 true", 1, "host1 has been killed: take all down by `scripts/hosts down`")
		if said := succeed(t, typedHosts(t, "scripts/hosts ls")); strings.Count(said, "the host has been killed") != 2 {
			t.Errorf("ls: %s", said)
		}
		succeed(t, typedHosts(t, "scripts/hosts down"))
		_, _ = web.cmd.Wait(), hidden.cmd.Wait() // they were killed
		before.same(t)
	})
	// The moments of `up` at which it is killed are known by what it makes.
	for _, moment := range []string{"up", "up/hosts.json", "up/host2", "up/underlay/m1.log", "up/host1/fairwayd.log"} {
		t.Run(moment, func(t *testing.T) {
			up := typedHosts(t, "exec scripts/hosts up 2")
			if err := up.Start(); err != nil {
				t.Fatal(err)
			}
			for begin := time.Now(); !exists(filepath.Join(hostsDir, moment)); time.Sleep(time.Millisecond) {
				if time.Since(begin) > patience {
					t.Fatalf("no %s", moment)
				}
			}
			if err := up.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = up.Wait() // it was killed
			succeed(t, typedHosts(t, "scripts/hosts down"))
			before.same(t)
		})
	}
}

// awaitDeath waits until a process that was killed runs no more: the signal takes effect when it is scheduled.
func awaitDeath(t *testing.T, pid int) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, state, _ := strings.Cut(string(stat), ") ")
		if err != nil || strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X") {
			return
		}
		if time.Since(begin) > patience {
			t.Fatalf("process %d was killed and runs on", pid)
		}
	}
}

// holders are the processes that keep the namespaces of hosts and underlay.
func holders(t *testing.T) []int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(hostsDir, "up", "hosts.json"))
	if err != nil {
		t.Fatal(err)
	}
	type home struct{ Pid int }
	var saved struct {
		Underlay home
		Hosts    []struct{ Home home }
	}
	if err := json.Unmarshal(text, &saved); err != nil {
		t.Fatal(err)
	}
	pids := []int{saved.Underlay.Pid}
	for _, h := range saved.Hosts {
		pids = append(pids, h.Home.Pid)
	}
	return pids
}

// surroundings are what the tests' machine has.
type surroundings struct {
	Processes map[string]string
	Links     string
	Mounts    string
	Hosts     bool
}

func lookAround(t *testing.T) surroundings {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	s := surroundings{Processes: map[string]string{}, Mounts: string(mounts), Hosts: exists(hostsDir)}
	s.Links = succeed(t, command(t, "ip", "-brief", "link"))
	found, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, process := range found {
		line, err := os.ReadFile(filepath.Join(process, "cmdline"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
			t.Fatal(err)
		}
		// One without a line has ended, and nobody has waited for it. A resolver of an earlier test ends by itself.
		if len(line) > 0 && !strings.Contains(string(line), "\x00--names-only\x00") {
			s.Processes[process] = string(line)
		}
	}
	return s
}

func (s surroundings) same(t *testing.T) {
	t.Helper()
	if diff := cmp.Diff(s, lookAround(t)); diff != "" {
		t.Errorf("left over (-before +after):\n%s", diff)
	}
}
