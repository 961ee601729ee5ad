package e2e

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestBackground is an example with several containers, typed in one terminal.
func TestBackground(t *testing.T) {
	createNetwork(t, "--subnet", "10.78.0.0/24", "lamp")
	id := strings.TrimSpace(background(t, 0, "run", "-d", "--name", "web", "--network", "lamp", "-p", "18078:80", "-e", "GREETING=hello", "sh", "-c",
		`trap 'echo bye; exit 3' TERM; echo $GREETING; echo oops >&2; while :; do sleep 0.05; done`))
	if len(id) != 64 {
		t.Fatalf("ID %q", id)
	}
	if listed := background(t, 0, "ps"); !strings.Contains(listed, id[:12]) || !strings.Contains(listed, "Up ") || !strings.Contains(listed, "18078->80/tcp") || !strings.Contains(listed, "   web\n") {
		t.Errorf("ps:\n%s", listed)
	}
	awaitBackground(t, "hello\noops\n", "logs", "web")
	for _, test := range []struct {
		args   []string
		want   string
		status int
	}{
		{[]string{"web", "sh", "-c", "ip -o -4 addr show eth0 | awk '{print $4}'; hostname; echo $GREETING; test -d /proc/1 && ls /proc | grep -c '^[0-9]*$' | awk '{print $1 < 12}'"}, "10.78.0.2/24\nweb\nhello\n1\n", 0},
		{[]string{"-it", "-e", "A=b", "-u", "nobody", "-w", "/usr", id[:10], "sh", "-c", "echo $A; id -un; pwd; exit 7"}, "b\nnobody\n/usr\n", 7},
		{[]string{"web", "no-such-command"}, "", 127},
		{[]string{"nobody", "true"}, "", 125},
		{[]string{"web"}, "", 125},
	} {
		if got := background(t, test.status, append([]string{"exec"}, test.args...)...); got != test.want {
			t.Errorf("exec %q: got %q, want %q", test.args, got, test.want)
		}
	}
	background(t, 0, "run", "--network", "lamp", "sh", "-c", "busybox ping -q -c 1 -W 2 10.78.0.2 >&2")
	background(t, 125, "run", "-d", "--name", "web", "--network", "lamp", "sleep", "60")
	background(t, 127, "run", "-d", "no-such-command")
	background(t, 125, "run", "-d", "--network", "no-such-network", "sleep", "60")
	background(t, 125, "run", "-d", "--network", "lamp")
	if got := background(t, 0, "stop", "web"); got != "web\n" {
		t.Errorf("stop: %q", got)
	}
	if listed := background(t, 0, "ps", "-aq"); listed != "" {
		t.Errorf("after stop:\n%s", listed)
	}
	background(t, 1, "logs", "web")
	if count := background(t, 0, "inspect", "-f", "{{len .Containers}}", "lamp"); count != "0\n" {
		t.Errorf("in use after stop: %s", count)
	}
}

// TestBackgroundEnds: what has ended by itself, was killed, or does not want to end.
func TestBackgroundEnds(t *testing.T) {
	createNetwork(t, "--subnet", "10.79.0.0/24", "lamp")
	background(t, 0, "run", "-d", "--name", "job", "--network", "lamp", "sh", "-c", "echo done; exit 5")
	if got := background(t, 0, "logs", "-f", "job"); got != "done\n" {
		t.Errorf("logs -f: %q", got)
	}
	awaitBackground(t, "Exited (5) ", "ps", "-a")
	if listed := background(t, 0, "ps", "-q"); listed != "" {
		t.Errorf("ps lists what has ended: %s", listed)
	}
	background(t, 125, "exec", "job", "true")
	const much = 20_000_000
	background(t, 0, "run", "-d", "--name", "job", "--network", "lamp", "sh", "-c", "yes | head -c "+strconv.Itoa(much)+"; echo end")
	awaitBackground(t, "Exited (0) ", "ps", "-a")
	if printed := background(t, 0, "logs", "job"); len(printed) > much/2 || len(printed) < 4<<20 || !strings.HasSuffix(printed, "\ny\nend\n") {
		t.Errorf("%d bytes of much output, ending in %q", len(printed), printed[max(0, len(printed)-20):])
	}
	background(t, 0, "stop", "job")
	background(t, 0, "run", "-d", "--rm", "--name", "job", "--network", "lamp", "true")
	for range 100 {
		if time.Sleep(50 * time.Millisecond); background(t, 0, "ps", "-aq") == "" {
			break
		}
	}
	if listed := background(t, 0, "ps", "-aq"); listed != "" {
		t.Errorf("left by --rm: %s", listed)
	}
	background(t, 0, "run", "-d", "--name", "mule", "--network", "lamp", "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done")
	awaitBackground(t, "ready\n", "logs", "mule")
	begun := time.Now()
	if background(t, 0, "stop", "-t", "1", "mule"); time.Since(begun) < time.Second {
		t.Error("the time to end by itself was not given")
	}
	background(t, 2, "stop", "-s", "NOSUCH", "mule")

	background(t, 0, "run", "-d", "--name", "orphan", "--network", "lamp", "sleep", "300")
	killSupervisor(t, "orphan")
	awaitBackground(t, "Dead", "ps", "-a")
	background(t, 0, "stop", "orphan")
	for range 100 {
		if time.Sleep(50 * time.Millisecond); background(t, 0, "inspect", "-f", "{{len .Containers}}", "lamp") == "0\n" {
			return
		}
	}
	t.Errorf("the network is in use still:\n%s", background(t, 0, "inspect", "lamp"))
}

// killSupervisor kills the process that supervises a container: the one above its first process.
func killSupervisor(t *testing.T, container string) {
	t.Helper()
	states, err := os.ReadDir("/run/fairway/containers")
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range states {
		text, err := os.ReadFile("/run/fairway/containers/" + state.Name() + "/state.json")
		_, after, _ := strings.Cut(string(text), `"Supervisor":`)
		number, _, found := strings.Cut(after, ",")
		if err != nil || !found || !strings.Contains(string(text), `"Name":"`+container+`"`) {
			continue
		}
		pid, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(err)
		}
		process, err := os.FindProcess(pid)
		if err != nil {
			t.Fatal(err)
		}
		if err := process.Kill(); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("no container %s", container)
}

// background runs fairway, and compares its exit status.
func background(t *testing.T, want int, args ...string) string {
	t.Helper()
	stdout, stderr, err := run(fairway(t, args...))
	var exit *exec.ExitError
	status := 0
	if errors.As(err, &exit) {
		status = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if status != want {
		t.Fatalf("fairway %q: status %d, want %d\n%s%s", args, status, want, stdout, stderr)
	}
	return stdout
}

// awaitBackground runs fairway until it prints a text.
func awaitBackground(t *testing.T, text string, args ...string) {
	t.Helper()
	got := ""
	for range 200 {
		if got = background(t, 0, args...); strings.Contains(got, text) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("fairway %q prints %q, want %q", args, got, text)
}
