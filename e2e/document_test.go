package e2e

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestDocument follows a user's guide to `docker network` from its first command to its last, with fairway in the place of
// docker. Each step builds on those before.
func TestDocument(t *testing.T) {
	t.Cleanup(func() { succeed(t, fairway(t, "prune", "--force")) }) // a test that passes has removed all
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"network ls", documentList},
		{"network create", documentCreate},
		{"network create OPTION", documentOptions},
		{"network connect and disconnect", documentConnect},
		{"network inspect", documentInspect},
		{"network rm", documentRemove},
		{"network prune", documentPrune},
		{"run --network", documentRun},
	} {
		if !t.Run(step.name, step.run) {
			return
		}
	}
}

const header = "NETWORK ID     NAME      DRIVER    SCOPE\n"

func documentList(t *testing.T) {
	want := header + `17f29b073143   bridge    bridge    local
4740ae6347b0   host      host      local
140bedbf9c3f   none      null      local
`
	if diff := cmp.Diff(want, succeed(t, fairway(t, "network", "ls"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func documentCreate(t *testing.T) {
	id := succeed(t, fairway(t, "network", "create", "demo_network"))
	if !regexp.MustCompile(`^[0-9a-f]{64}\n$`).MatchString(id) {
		t.Errorf("create prints %q, want an ID", id)
	}
	line := id[:12] + "   demo_network   bridge    local\n"
	if got := succeed(t, fairway(t, "network", "ls")); !strings.Contains(got, line) {
		t.Errorf("ls: got\n%s\nwant the line %q", got, line)
	}
}

// documentOptions gives each option of the guide, and looks for what it promises.
func documentOptions(t *testing.T) {
	for _, test := range []struct {
		args   []string
		format string
		want   string
	}{
		{[]string{"--driver", "bridge", "d1"}, "{{.Driver}}", "bridge"},
		{[]string{"--subnet", "10.71.0.0/16", "--gateway", "10.71.5.254", "--ip-range", "10.71.5.0/24", "d2"},
			"{{range .IPAM.Config}}{{.Subnet}} {{.IPRange}} {{.Gateway}}{{end}}", "10.71.0.0/16 10.71.5.0/24 10.71.5.254"},
		{[]string{"--internal", "d3"}, "{{.Internal}} {{.EnableIPv4}}", "true true"},
		{[]string{"--ipv6", "d4"}, "{{.EnableIPv4}} {{.EnableIPv6}} {{len .IPAM.Config}}", "true true 2"},
		{[]string{"--config-only", "--subnet", "10.72.0.0/16", "--label", "from=template", "template"}, "{{.ConfigOnly}}", "true"},
		{[]string{"--config-from", "template", "d5"}, "{{.ConfigFrom.Network}} {{range .IPAM.Config}}{{.Subnet}}{{end}} {{.Labels.from}}",
			"template 10.72.0.0/16 template"},
		{[]string{"--config-from", "d3", "d6"}, "{{.ConfigFrom.Network}} {{.Internal}}", "d3 true"},
	} {
		name := test.args[len(test.args)-1]
		succeed(t, fairway(t, append([]string{"network", "create"}, test.args...)...))
		if got := strings.TrimSpace(succeed(t, fairway(t, "network", "inspect", "-f", test.format, name))); got != test.want {
			t.Errorf("create %s: got %q, want %q", strings.Join(test.args, " "), got, test.want)
		}
	}
}

// documentConnect moves a container from one network to another and back.
func documentConnect(t *testing.T) {
	web, db := testnet.NewNS(t, "web"), testnet.NewNS(t, "db")
	succeed(t, fairway(t, "network", "connect", "d2", "netns:"+web.Path))
	succeed(t, fairway(t, "network", "connect", "--ip", "10.71.5.20", "d2", "netns:"+db.Path))
	ping(t, web.Path, "10.71.5.20")
	succeed(t, fairway(t, "network", "connect", "demo_network", "netns:"+db.Path))
	wantLinks(t, db, "lo", "eth0", "eth1")
	succeed(t, fairway(t, "network", "disconnect", "d2", "netns:"+db.Path))
	wantLinks(t, db, "lo", "eth1")
	if said := fail(t, fairway(t, "network", "disconnect", "d2", "netns:"+db.Path)); !strings.Contains(said, "is not connected to network d2") {
		t.Errorf("disconnect twice: got %q", said)
	}
	succeed(t, fairway(t, "network", "disconnect", "demo_network", "netns:"+db.Path))
	succeed(t, fairway(t, "network", "disconnect", "d2", "netns:"+web.Path))
}

func documentInspect(t *testing.T) {
	web := testnet.NewNS(t, "web")
	succeed(t, fairway(t, "network", "connect", "--ip", "10.71.5.30", "d2", "netns:"+web.Path))
	const containers = "{{range .Containers}}{{.IPv4Address}}{{end}}"
	if got := strings.TrimSpace(succeed(t, fairway(t, "network", "inspect", "--format", containers, "d2"))); got != "10.71.5.30/16" {
		t.Errorf("containers: got %q, want 10.71.5.30/16", got)
	}
	if said := fail(t, fairway(t, "network", "rm", "d2")); !strings.Contains(said, "is in use by container") {
		t.Errorf("rm of a network in use: got %q", said)
	}
	succeed(t, fairway(t, "network", "disconnect", "d2", "netns:"+web.Path))
}

func documentRemove(t *testing.T) {
	if got := succeed(t, fairway(t, "network", "rm", "demo_network", "d2")); got != "demo_network\nd2\n" {
		t.Errorf("rm prints %q", got)
	}
	wantNothing(t, "d2")
	for _, name := range []string{"bridge", "host", "none"} {
		if said := fail(t, fairway(t, "network", "rm", name)); !strings.Contains(said, "cannot be removed") {
			t.Errorf("rm %s: got %q", name, said)
		}
	}
}

func documentPrune(t *testing.T) {
	prune := fairway(t, "network", "prune")
	prune.Stdin = strings.NewReader("y\n")
	if got := succeed(t, prune); !strings.HasSuffix(got, "Deleted Networks:\nd1\nd3\nd4\nd5\nd6\n") {
		t.Errorf("prune prints %q", got)
	}
	succeed(t, fairway(t, "network", "rm", "template"))
	documentList(t) // as at the beginning
}

// documentRun starts a server on a network, and a client of it on the same one; then the two networks that are none.
func documentRun(t *testing.T) {
	succeed(t, fairway(t, "network", "create", "--subnet", "10.73.0.0/24", "lamp-network"))
	pages := t.TempDir()
	if err := os.WriteFile(filepath.Join(pages, "index.html"), []byte(webPage), 0o644); err != nil {
		t.Fatal(err)
	}
	apache := fairway(t, "run", "-it", "--network", "lamp-network", "--network-alias", "apache", "--name", "apache",
		"busybox", "httpd", "-f", "-p", "80", "-h", pages)
	if err := apache.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	t.Cleanup(func() {
		if !ended {
			_ = apache.Process.Kill() // the test has failed already
			_ = apache.Wait()
		}
	})
	awaitPort(t, "10.73.0.2", "80")
	got := succeed(t, fairway(t, "run", "-it", "--network", "lamp-network", "--network-alias", "php",
		"busybox", "wget", "-q", "-O-", "http://10.73.0.2/"))
	if got != webPage {
		t.Errorf("page of apache: got %q, want %q", got, webPage)
	}
	const containers = "{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}"
	if got := strings.TrimSpace(succeed(t, fairway(t, "network", "inspect", "-f", containers, "lamp-network"))); got != "apache 10.73.0.2/24" {
		t.Errorf("containers: got %q, want apache 10.73.0.2/24", got)
	}
	if err := apache.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = apache.Wait() // by the signal
	ended = true
	wantNothing(t, "lamp-network")
	succeed(t, fairway(t, "network", "rm", "lamp-network"))

	if got := succeed(t, fairway(t, "run", "--network", "none", "ls", "/sys/class/net")); got != "lo\n" {
		t.Errorf("links on the network none: got %q, want lo", got)
	}
	host := succeed(t, command(t, "readlink", "/proc/self/ns/net"))
	if got := succeed(t, fairway(t, "run", "--network", "host", "readlink", "/proc/self/ns/net")); got != host {
		t.Errorf("namespace on the network host: got %q, want %q", got, host)
	}
}

// awaitPort waits until something serves.
func awaitPort(t *testing.T, host, port string) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), time.Second)
		if err == nil {
			_ = conn.Close() // only that it opens was asked
			return
		}
		if time.Since(start) > commandLimit {
			t.Fatalf("nothing serves %s port %s: %v", host, port, err)
		}
	}
}
