package e2e

import (
	"errors"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestRun(t *testing.T) {
	createNetwork(t, "--subnet", "10.76.0.0/24", "--subnet", "fd76::/64", "lamp")
	createNetwork(t, "--subnet", "10.77.0.0/24", "back")
	for _, test := range []struct {
		name   string
		args   []string
		want   string
		status int
	}{
		{"default network", []string{"sh", "-c", "ip -o -4 route show default | cut -d' ' -f5"}, "eth0\n", 0},
		{"addresses", []string{"--network", "lamp", "--ip", "10.76.0.50", "--ip6", "fd76::50", "--mac-address", "02:42:0a:4c:00:32",
			"sh", "-c", "ip -o addr show eth0 scope global | awk '{print $4}' | sort; cat /sys/class/net/eth0/address"},
			"10.76.0.50/24\nfd76::50/64\n02:42:0a:4c:00:32\n", 0},
		{"two networks", []string{"--network", "lamp,ip=10.76.0.60", "--network", "name=back,ip=10.77.0.60,ifname=data0",
			"sh", "-c", "ip -o -4 addr show | awk '{print $2, $4}'; ip -4 route show default | head -n1 | cut -d' ' -f3"},
			"lo 127.0.0.1/8\neth0 10.76.0.60/24\ndata0 10.77.0.60/24\n10.76.0.1\n", 0},
		{"names", []string{"--network", "lamp,ip=10.76.0.70,ip6=fd76::70", "--name", "web", "--hostname", "www", "--add-host", "db:192.0.2.9", "--dns", "192.0.2.53",
			"--dns-search", "example.org", "sh", "-c", "hostname; grep -v ip6 /etc/hosts; cat /etc/resolv.conf; echo $HOSTNAME"},
			"www\n127.0.0.1\tlocalhost\n192.0.2.9\tdb\n10.76.0.70\twww web\nfd76::70\twww web\nnameserver 127.0.0.11\nsearch example.org\noptions ndots:0\nwww\n", 0},
		{"other spellings of Docker's", []string{"--net", "lamp,ip=10.76.0.80", "--net", "back,gw-priority=1,driver-opt=com.docker.network.endpoint.ifname=data0",
			"-h", "www", "--net-alias", "w3", "--dns-opt", "timeout:1", "--add-host", "db=192.0.2.9", "--add-host", "outside:host-gateway",
			"sh", "-c", "hostname; grep -w -e db -e outside /etc/hosts; grep -o timeout:1 /etc/resolv.conf; ip -4 route show default | head -n1 | cut -d' ' -f3"},
			"www\n192.0.2.9\tdb\n10.77.0.1\toutside\ntimeout:1\n10.77.0.1\n", 0},
		{"process", []string{"--network", "lamp", "-u", "nobody:daemon", "-w", "/usr", "--sysctl", "net.ipv4.ip_unprivileged_port_start=77", "--name", "web", "--domainname", "example.org",
			"sh", "-c", "id -un; id -gn; pwd; echo $HOME; cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/domainname; grep -c web.example.org /etc/hosts"},
			"nobody\ndaemon\n/usr\n/nonexistent\n77\nexample.org\n2\n", 0},
		{"no network", []string{"--network", "none", "ip", "-o", "link"}, "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000\\    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n", 0},
		{"exit status", []string{"--network", "lamp", "--", "sh", "-c", "exit 42"}, "", 42},
		{"no such command", []string{"--network", "lamp", "no-such-command"}, "", 127},
		{"no such network", []string{"--network", "no-such-network", "true"}, "", 125},
		{"address taken", []string{"--network", "lamp,ip=10.76.0.1", "true"}, "", 125},
	} {
		t.Run(test.name, func(t *testing.T) {
			stdout, stderr, err := run(fairway(t, append([]string{"run"}, test.args...)...))
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			status := 0
			if exit != nil {
				status = exit.ExitCode()
			}
			if status != test.status {
				t.Errorf("got status %d, want %d: %s", status, test.status, stderr)
			}
			if diff := cmp.Diff(test.want, stdout); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			wantNothing(t, "lamp")
			wantNothing(t, "back")
		})
	}
	t.Run("host network", func(t *testing.T) {
		own := succeed(t, command(t, "readlink", "/proc/self/ns/net"))
		if got := succeed(t, fairway(t, "run", "--network", "host", "readlink", "/proc/self/ns/net")); got != own {
			t.Errorf("got %s, want %s", got, own)
		}
		host := succeed(t, command(t, "hostname"))
		got := succeed(t, fairway(t, "run", "--network", "host", "--hostname", "www", "--add-host", "db:192.0.2.9", "--dns", "192.0.2.53",
			"sh", "-c", "readlink /proc/self/ns/net; hostname; grep -w db /etc/hosts; grep nameserver /etc/resolv.conf"))
		if want := own + "www\n192.0.2.9\tdb\nnameserver 192.0.2.53\n"; got != want {
			t.Errorf("with names of its own: got %q, want %q", got, want)
		}
		if now := succeed(t, command(t, "hostname")); now != host {
			t.Errorf("the host's name was %s, and is %s", host, now)
		}
	})
	removeLink(t, "fwbridge0") // of the network bridge, which cannot be removed
}

// TestRunLookedAt: a running command is a container like any other: it is inspected, connected and disconnected by its name.
func TestRunLookedAt(t *testing.T) {
	noAddresses(t)
	createNetwork(t, "--subnet", "10.76.0.0/24", "lamp")
	createNetwork(t, "--subnet", "10.77.0.0/24", "back")
	web := startRun(t, "--network", "lamp,alias=www", "--name", "web")

	if said := fail(t, fairway(t, "run", "--network", "lamp", "--name", "web", "true")); !strings.Contains(said, "has the name web already") {
		t.Errorf("a second container of the name: got %q", said)
	}
	succeed(t, fairway(t, "connect", "back", "web"))
	const containers = "{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}"
	if got := succeed(t, fairway(t, "inspect", "-f", containers, "back")); got != "web 10.77.0.2/24\n" {
		t.Errorf("inspect: got %q", got)
	}
	beside := startRun(t, "--network", "container:web")
	beside.say(t, "hostname; ip -o -4 addr show dev eth0 | awk '{print $4}'; grep -c web /etc/hosts; cat /etc/resolv.conf", "web\n10.76.0.2/24\n1\nnameserver 127.0.0.11\noptions ndots:0\n")
	beside.end(t)
	if got := succeed(t, fairway(t, "inspect", "-f", containers, "lamp")); got != "web 10.76.0.2/24\n" {
		t.Errorf("inspect after a container beside it has ended: got %q", got)
	}
	succeed(t, fairway(t, "disconnect", "lamp", "web"))
	web.say(t, "ip -4 route show default | cut -d' ' -f3", "10.77.0.1\n")
	if got := succeed(t, fairway(t, "gc", "--dry-run")); got != "" {
		t.Errorf("gc would take from a running container: %s", got)
	}
	// Inside, the machine's processes are not seen, which does not make containers ones that have gone.
	self := fairway(t).Path
	web.say(t, self+" gc --dry-run; "+self+" rm back 2>&1; true", "fairway: network back is in use by container web: disconnect it first\n")
	web.end(t)
	wantNothing(t, "lamp")
	wantNothing(t, "back") // although it was connected later
}

// TestRunPublishes: ports are published with the container, shown, and gone with it.
func TestRunPublishes(t *testing.T) {
	noAddresses(t)
	createNetwork(t, "--subnet", "10.76.0.0/24", "--subnet", "fd76::/64", "lamp")
	newLAN(t)
	createNetwork(t, "-d", "macvlan", "-o", "parent=lan0", "--subnet", "10.78.0.0/24", "flat")
	web := startRun(t, "--network", "lamp", "--name", "web", "-p", "18080:80", "-p", "127.0.0.1::81", "-P", "--expose", "82/udp")
	web.say(t, "{ while :; do echo served | busybox nc -l -p 80; done; } >/dev/null 2>&1 & echo started", "started\n")
	deadline := time.Now().Add(30 * time.Second)
	for answer := ""; answer != "served\n"; {
		if time.Now().After(deadline) {
			t.Fatalf("by 127.0.0.1:18080: %q", answer)
		}
		answer, _, _ = run(command(t, "sh", "-c", "busybox nc -w 2 127.0.0.1 18080 </dev/null"))
	}
	const published = `{{range .Containers}}{{range $port, $at := .Ports}}{{$port}}{{range $at}} {{.HostIP}}:{{.HostPort}}{{end}}{{println}}{{end}}{{end}}`
	got := succeed(t, fairway(t, "inspect", "-f", published, "lamp"))
	if !regexp.MustCompile(`^80/tcp 0\.0\.0\.0:18080 :::18080\n81/tcp 127\.0\.0\.1:\d{5}\n82/udp 0\.0\.0\.0:\d{5} :::\d{5}\n`).MatchString(got) {
		t.Errorf("inspect: got %q", got)
	}
	if got := succeed(t, fairway(t, "topology")); !strings.Contains(got, "18080->80/tcp") {
		t.Errorf("topology does not show the port:\n%s", got)
	}
	if said := fail(t, fairway(t, "run", "--network", "lamp", "-p", "18080:80", "true")); !strings.Contains(said, "port 18080/tcp is already published by container ") {
		t.Errorf("a port twice: got %q", said)
	}
	if said := fail(t, fairway(t, "run", "--network", "flat", "-p", "80:80", "true")); !strings.Contains(said, "network flat publishes no ports") {
		t.Errorf("a network without ports: got %q", said)
	}
	if _, said, err := run(fairway(t, "run", "--network", "none", "-p", "80:80", "true")); err != nil || !strings.Contains(said, "on network none no port is published") {
		t.Errorf("no network: got %q, %v", said, err)
	}
	web.end(t)
	wantNothing(t, "lamp")
}

// TestRunKilled: neither SIGTERM nor SIGKILL leaves anything. Whoever writes to the pipe has ended when that ends.
func TestRunKilled(t *testing.T) {
	noAddresses(t)
	createNetwork(t, "--subnet", "10.76.0.0/24", "lamp")
	for _, signal := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		t.Run(unix.SignalName(signal), func(t *testing.T) {
			web := startRun(t, "--network", "lamp")
			web.say(t, "setsid sleep 1000 & echo started", "started\n")
			if err := web.cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if rest, err := io.ReadAll(web.stderr); err != nil || len(rest) > 0 {
				t.Errorf("until the end: %q, %v", rest, err)
			}
			_ = web.cmd.Wait() // it was killed
			wantNothing(t, "lamp")
			if got := succeed(t, fairway(t, "gc", "--dry-run")); got != "" {
				t.Errorf("left: %s", got)
			}
		})
	}
}

// runShell is a shell that is being typed into: that of a `fairway run`, or on a host.
type runShell struct {
	cmd            *exec.Cmd
	stdin          io.WriteCloser
	stdout, stderr io.Reader
}

func startRun(t *testing.T, flags ...string) runShell {
	t.Helper()
	return runShellBy(t, fairway(t, append(append([]string{"run"}, flags...), "sh")...))
}

// runShellBy starts a command that ends up in a shell.
func runShellBy(t *testing.T, cmd *exec.Cmd) runShell {
	t.Helper()
	s := runShell{cmd: cmd}
	var err [3]error
	s.stdin, err[0] = s.cmd.StdinPipe()
	s.stdout, err[1] = s.cmd.StdoutPipe()
	s.stderr, err[2] = s.cmd.StderrPipe()
	if err := errors.Join(err[0], err[1], err[2], s.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	s.say(t, "echo ready", "ready\n")
	return s
}

// say types a command and expects an answer.
func (s runShell) say(t *testing.T, line, want string) {
	t.Helper()
	if _, err := io.WriteString(s.stdin, line+"\n"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if n, err := io.ReadFull(s.stdout, got); err != nil || string(got) != want {
		t.Fatalf("%s: got %q, %v; want %q", line, got[:n], err, want)
	}
}

func (s runShell) end(t *testing.T) {
	t.Helper()
	s.stdin.Close()
	if said, err := io.ReadAll(s.stderr); err != nil || len(said) > 0 {
		t.Errorf("stderr: %q, %v", said, err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Error(err)
	}
}
