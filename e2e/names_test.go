package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// insider is a shell of `fairway run` that does one command after the other.
type insider struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// insiderLoop does what comes in by lines, and marks the end of what each prints.
const insiderLoop = `echo ready; while read -r line; do eval "$line" 2>&1; echo; echo "end $?"; done`

// startInsider runs a container until the test ends.
func startInsider(t *testing.T, args ...string) *insider {
	t.Helper()
	limited := fairway(t, append(append([]string{"run"}, args...), "sh", "-c", insiderLoop)...)
	cmd := exec.Command(limited.Path, limited.Args[1:]...) // it ends with its input, and lives longer than one command may take
	cmd.Env = limited.Env
	return enter(t, cmd)
}

// enter starts a command that runs insiderLoop.
func enter(t *testing.T, cmd *exec.Cmd) *insider {
	t.Helper()
	var said strings.Builder
	cmd.Stderr = &said
	g := &insider{cmd: cmd}
	var err error
	if g.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	g.out = bufio.NewReader(stdout)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.end(t) })
	if line, err := g.out.ReadString('\n'); line != "ready\n" || err != nil {
		t.Fatalf("%v: %q, %v\n%s", cmd.Args, line, err, said.String())
	}
	return g
}

// do gives what a command prints, without the last newline.
func (g *insider) do(t *testing.T, command string) string {
	t.Helper()
	if _, err := io.WriteString(g.in, command+"\n"); err != nil {
		t.Fatal(err)
	}
	var printed strings.Builder
	for {
		line, err := g.out.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, printed.String())
		}
		if strings.HasPrefix(line, "end ") {
			return strings.Trim(printed.String(), "\n")
		}
		printed.WriteString(line)
	}
}

func (g *insider) end(t *testing.T) {
	if g.in == nil {
		return
	}
	g.in.Close()
	g.in = nil
	if err := g.cmd.Wait(); err != nil {
		t.Errorf("%v: %v", g.cmd.Args, err)
	}
}

// muslLookup is a static program of musl's libc that prints the addresses of a name, sorted, or the error.
func muslLookup(t *testing.T) string {
	t.Helper()
	const source = `
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <arpa/inet.h>
int main(int argc, char **argv) {
	struct addrinfo hint = {.ai_socktype = SOCK_STREAM}, *all, *a;
	char text[64];
	int failed = getaddrinfo(argv[1], 0, &hint, &all);
	if (failed) { puts(gai_strerror(failed)); return 1; }
	for (a = all; a; a = a->ai_next) {
		void *addr = a->ai_family == AF_INET ? (void *)&((struct sockaddr_in *)a->ai_addr)->sin_addr
			: (void *)&((struct sockaddr_in6 *)a->ai_addr)->sin6_addr;
		puts(inet_ntop(a->ai_family, addr, text, sizeof text));
	}
	return 0;
}
`
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "lookup.c"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "lookup")
	succeed(t, command(t, "musl-gcc", "-static", "-o", program, filepath.Join(dir, "lookup.c")))
	return program
}

// wantName expects an address of a name by a libc's two families, and by DNS itself.
func (g *insider) wantName(t *testing.T, musl, name, address string) {
	t.Helper()
	for _, command := range []string{"getent ahosts " + name + " | cut -d' ' -f1 | sort -u", musl + " " + name, "dig +short " + name} {
		if got := g.do(t, command); got != address {
			t.Errorf("%s: got %q, want %s", command, got, address)
		}
	}
}

// resolvers are the processes that answer names for this host.
func resolvers(t *testing.T) (pids []int) {
	t.Helper()
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		text, _ := os.ReadFile(path) // it may have ended
		netns, _ := os.Readlink(filepath.Join(filepath.Dir(path), "ns/net"))
		if args := strings.Split(string(text), "\x00"); len(args) > 1 && args[1] == "--names-only" && netns == own {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// awaitNoResolver waits until the resolver has ended by itself.
func awaitNoResolver(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(commandLimit); len(resolvers(t)) > 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("resolver still runs: %v", resolvers(t))
		}
	}
}

// TestLamp is the example of `docker run --network-alias`, on a host where nothing but files is installed.
func TestLamp(t *testing.T) {
	createNetwork(t, "--subnet", "10.78.0.0/24", "lamp-network")
	createNetwork(t, "--subnet", "10.79.0.0/24", "other")
	awaitNoResolver(t) // of an earlier test
	musl := muslLookup(t)
	lamp := map[string]*insider{}
	address := map[string]string{}
	for i, name := range []string{"apache", "php", "mysql"} {
		lamp[name] = startInsider(t, "--network", "lamp-network", "--network-alias", name)
		address[name] = fmt.Sprintf("10.78.0.%d", i+2)
	}
	fourth := startInsider(t, "--network", "other", "--name", "fourth")
	wantLamp := func() {
		t.Helper()
		for _, g := range lamp {
			for name, address := range address {
				g.wantName(t, musl, name, address)
				g.wantName(t, musl, name+".lamp-network", address)
			}
		}
	}
	wantLamp()
	if got := fourth.do(t, "dig +short apache; dig +short apache.lamp-network; getent hosts apache"); got != "" {
		t.Errorf("a container of another network is told %q", got)
	}
	if got := fourth.do(t, "dig +short fourth"); got != "10.79.0.2" {
		t.Errorf("its own name: %q", got)
	}
	if got, want := lamp["php"].do(t, "cat /etc/resolv.conf"), "nameserver 127.0.0.11\noptions ndots:0"; got != want {
		t.Errorf("resolv.conf: got %q, want %q", got, want)
	}
	if got := lamp["php"].do(t, "dig +short -x "+address["mysql"]); !strings.HasSuffix(got, ".lamp-network.") {
		t.Errorf("name of an address: %q", got)
	}

	// Seen from the host.
	if got := succeed(t, fairway(t, "resolve", "PHP", "--network", "lamp-network")); got != address["php"]+"\n" {
		t.Errorf("fairway resolve: %q", got)
	}
	if got := fail(t, fairway(t, "resolve", "php", "--network", "other")); !strings.Contains(got, "network other has no container php") {
		t.Errorf("fairway resolve on another network: %q", got)
	}
	const aliases = `{{range .Containers}}{{if eq .IPv4Address "10.78.0.4/24"}}{{index .DNSNames 1}}{{end}}{{end}}`
	if got := succeed(t, fairway(t, "inspect", "-f", aliases, "lamp-network")); got != "mysql\n" {
		t.Errorf("fairway inspect: %q", got)
	}
	if got := succeed(t, fairway(t, "doctor", "--check", "names")); !strings.HasPrefix(got, "ok ") {
		t.Errorf("fairway doctor: %s", got)
	}
	odd := startInsider(t, "--network", "lamp-network", "--name", "123456789012")
	if got := succeed(t, fairway(t, "doctor", "--check", "names")); !strings.HasPrefix(got, "ok ") {
		t.Errorf("fairway doctor, of a name of digits: %s", got)
	}
	odd.end(t)
	lamp["php"].do(t, "ip link set lo down")
	if got := fail(t, fairway(t, "doctor", "--check", "names")); !strings.Contains(got, "lo of container ") || !strings.Contains(got, " is down: names are asked for at 127.0.0.11") {
		t.Errorf("fairway doctor, with lo down: %s", got)
	}
	lamp["php"].do(t, "ip link set lo up")

	// Killed, and started again by the next attachment.
	pids := resolvers(t)
	if len(pids) != 1 {
		t.Fatalf("resolvers %v, want one", pids)
	}
	if err := unix.Kill(pids[0], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	perl := startInsider(t, "--network", "lamp-network", "--alias", "perl")
	perl.wantName(t, musl, "apache", address["apache"])
	wantLamp()
	lamp["apache"].wantName(t, musl, "perl", "10.78.0.6")

	lamp["mysql"].end(t)
	if got := perl.do(t, "dig +short mysql"); got != "" {
		t.Errorf("name of a container that has gone: %q", got)
	}
	for _, g := range append([]*insider{perl, fourth}, lamp["apache"], lamp["php"]) {
		g.end(t)
	}
	wantNothing(t, "lamp-network")
	awaitNoResolver(t)
}

// TestManyNamesAtOnce: whoever comes finds itself and all who were there before, with the first question.
func TestManyNamesAtOnce(t *testing.T) {
	createNetwork(t, "--subnet", "10.80.0.0/16", "crowd")
	const containers, atOnce = 48, 8
	var mu sync.Mutex
	var present []string
	var all []*insider
	var wg sync.WaitGroup
	turn := make(chan struct{}, atOnce)
	for i := range containers {
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			name := fmt.Sprintf("c%d", i)
			mu.Lock()
			before := append(slices.Clone(present), name)
			mu.Unlock()
			g := startInsider(t, "--network", "crowd", "--name", name)
			// Each address is another container's: as many lines as names.
			found := strings.Fields(g.do(t, "dig +short +tries=1 "+strings.Join(before, " ")))
			if len(found) != len(before) {
				t.Errorf("%s asks for %v and finds %v", name, before, found)
			}
			mu.Lock()
			defer mu.Unlock()
			present, all = append(present, name), append(all, g)
		})
	}
	wg.Wait()
	if n := len(resolvers(t)); n != 1 {
		t.Errorf("%d resolvers", n)
	}
	for _, g := range all {
		wg.Go(func() { g.end(t) })
	}
	wg.Wait()
	wantNothing(t, "crowd")
}

// TestLampUnderPodman: podman hands over its own aliases, and takes the server from the result.
func TestLampUnderPodman(t *testing.T) {
	createNetwork(t, "--subnet", "10.68.0.0/24", "boxes")
	createNetwork(t, "--subnet", "10.69.0.0/24", "other")
	p := newPodman(t)
	start := func(name, network string, more ...string) {
		t.Helper()
		args := append([]string{"run", "--detach", "--name", name, "--cgroup-parent", p.cgroup, "--network", network}, more...)
		succeed(t, p.command(t, append(args, imageName)...))
		t.Cleanup(func() { _, _, _ = run(p.command(t, "rm", "--force", "--time", "0", name)) })
	}
	start("web", "boxes", "--network-alias", "apache")
	start("php", "boxes", "--network-alias", "php-fpm")
	start("alien", "other")
	for name, want := range map[string]string{"apache": "10.68.0.2", "web": "10.68.0.2", "php-fpm": "10.68.0.3", "web.boxes": "10.68.0.2"} {
		if got := lookUp(t, p.command(t, "exec", "php", "/bin/busybox", "nslookup", "-type=a", name)); got != want {
			t.Errorf("%s: got %q, want %s", name, got, want)
		}
	}
	if got := lookUp(t, p.command(t, "exec", "alien", "/bin/busybox", "nslookup", "-type=a", "apache")); got != "" {
		t.Errorf("a container of another network is told %q", got)
	}
	for _, name := range []string{"web", "php", "alien"} {
		succeed(t, p.command(t, "rm", "--force", "--time", "0", name))
	}
	wantNothing(t, "boxes")
}

// lookUp gives the last address that nslookup prints; the first is the server's.
func lookUp(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	stdout, _, _ := run(cmd) // it fails for a name that there is not
	var found []string
	for line := range strings.Lines(stdout) {
		if address, ok := strings.CutPrefix(line, "Address: "); ok && !strings.Contains(address, "127.0.0.11") {
			found = append(found, strings.TrimSpace(address))
		}
	}
	return strings.Join(found, " ")
}

// TestLampUnderContainerd: the container is asked for from its own namespace, whoever wrote its resolv.conf.
func TestLampUnderContainerd(t *testing.T) {
	createNetwork(t, "--subnet", "10.81.0.0/24", "first")
	c := ctr{namespace: newCgroup(t), daemon: startContainerd(t)}
	succeed(t, c.command(t, "images", "import", "--snapshotter", snapshotter, buildImage(t)))
	a, b := c.start(t, "a", "10.81.0.2"), c.start(t, "b", "10.81.0.3")
	createNetwork(t, "--subnet", "10.82.0.0/24", "back")
	for _, id := range []string{"a", "b"} {
		succeed(t, c.fairway(t, "connect", "--alias", "alias-of-"+id, "back", id))
	}
	for id, want := range map[string]string{"a": "10.82.0.2", "b": "10.82.0.3"} {
		got := succeed(t, commandIn(t, "/proc/"+c.pid(t, "a")+"/ns/net", "dig", "+short", "@127.0.0.11", "alias-of-"+id))
		if diff := cmp.Diff(want+"\n", got); diff != "" {
			t.Errorf("alias of %s (-want +got):\n%s", id, diff)
		}
	}
	// One that ctr attaches itself, to the network that comes first now, asks by the resolv.conf that it is given.
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver 127.0.0.11\noptions ndots:0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	mount := "type=bind,src=" + resolv + ",dst=/etc/resolv.conf,options=rbind:ro"
	client := c.command(t, "run", "--rm", "--cni", "--mount", mount, "--snapshotter", snapshotter, imageName, "client",
		"/bin/busybox", "nslookup", "-type=a", "alias-of-b")
	if got := lookUp(t, client); got != "10.82.0.3" {
		t.Errorf("a container of ctr finds alias-of-b at %q, want 10.82.0.3", got)
	}
	for _, id := range []string{"a", "b"} {
		succeed(t, c.fairway(t, "disconnect", "back", id))
	}
	a.end(t)
	b.end(t)
	wantNothing(t, "first")
	wantNothing(t, "back")
}
