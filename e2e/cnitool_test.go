package e2e

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

const dualStackConf = `{
	"cniVersion": "1.1.0",
	"name": "tool",
	"plugins": [{
		"type": "bridge",
		"bridge": "tool0",
		"isDefaultGateway": true,
		"ipMasq": true,
		"ipam": {
			"type": "host-local",
			"ranges": [[{"subnet": "10.61.0.0/24"}], [{"subnet": "fd61::/64"}]]
		}
	}]
}`

func TestCnitoolBridge(t *testing.T) {
	writeConf(t, dualStackConf)
	o := newOutside(t)
	o.mirror(t)
	removeLink(t, "tool0")
	a, b := testnet.NewNS(t, "a"), testnet.NewNS(t, "b")

	succeed(t, cnitool(t, "status", "tool", a))
	wantAddresses(t, succeed(t, cnitool(t, "add", "tool", a)), "10.61.0.2/24", "fd61::2/64")
	wantAddresses(t, succeed(t, cnitool(t, "add", "tool", b)), "10.61.0.3/24", "fd61::3/64")
	succeed(t, cnitool(t, "check", "tool", a))
	succeed(t, cnitool(t, "check", "tool", b))

	ping(t, a.Path, "10.61.0.3")
	ping(t, a.Path, "fd61::3")
	o.wantMasqueraded(t, a)
	o.wantMasqueraded(t, b)

	succeed(t, commandIn(t, a.Path, "ip", "addr", "del", "10.61.0.2/24", "dev", "eth0"))
	if said := fail(t, cnitool(t, "check", "tool", a)); !strings.Contains(said, "10.61.0.2") {
		t.Errorf("check: got %q, want the missing address 10.61.0.2", said)
	}

	succeed(t, cnitool(t, "del", "tool", a))
	succeed(t, cnitool(t, "check", "tool", b))
	ping(t, b.Path, "10.61.0.1")

	succeed(t, cnitool(t, "gc", "tool", b)) // cnitool names no valid attachments: all go
	wantNothing(t, "tool")
	succeed(t, cnitool(t, "del", "tool", b))
	wantLinks(t, b, "lo")
}

func TestCnitoolFullRange(t *testing.T) {
	writeConf(t, `{
		"cniVersion": "1.1.0",
		"name": "full",
		"plugins": [{"type": "bridge", "bridge": "full0", "ipam": {"type": "host-local", "subnet": "10.62.0.0/30"}}]
	}`)
	removeLink(t, "full0")
	a, b := testnet.NewNS(t, "a"), testnet.NewNS(t, "b")

	succeed(t, cnitool(t, "status", "full", a))
	succeed(t, cnitool(t, "add", "full", a))
	succeed(t, cnitool(t, "status", "full", a)) // the plugin works: containers that have addresses may be restarted
	fail(t, cnitool(t, "add", "full", b))
	wantLinks(t, b, "lo")

	succeed(t, cnitool(t, "del", "full", a))
	succeed(t, cnitool(t, "status", "full", a))
	wantNothing(t, "full")
}

func TestCnitoolNone(t *testing.T) {
	for _, plugin := range []string{"none", "loopback"} {
		t.Run(plugin, func(t *testing.T) {
			writeConf(t, `{"cniVersion": "1.1.0", "name": "closed", "plugins": [{"type": "`+plugin+`"}]}`)
			ns := testnet.NewNS(t, "a")

			succeed(t, cnitool(t, "status", "closed", ns))
			succeed(t, cnitool(t, "add", "closed", ns))
			succeed(t, cnitool(t, "check", "closed", ns))
			ping(t, ns.Path, "127.0.0.1")
			ping(t, ns.Path, "::1")
			wantLinks(t, ns, "lo")
			succeed(t, cnitool(t, "del", "closed", ns))
			succeed(t, cnitool(t, "del", "closed", ns))
		})
	}
}

func TestCnitoolPortmap(t *testing.T) {
	writeConf(t, `{
		"cniVersion": "1.1.0",
		"name": "ports",
		"plugins": [
			{"type": "bridge", "bridge": "ports0", "isDefaultGateway": true, "ipMasq": true, "ipam": {
				"type": "host-local", "ranges": [[{"subnet": "10.63.0.0/24"}], [{"subnet": "fd63::/64"}]]}},
			{"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}
		]
	}`)
	o := newOutside(t)
	removeLink(t, "ports0")
	ns := testnet.NewNS(t, "a")
	serve(t, ns, "80", func(net.Conn) string { return "hello" })
	mapping := `CAP_ARGS={"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}`

	succeed(t, with(cnitool(t, "add", "ports", ns), mapping))
	succeed(t, with(cnitool(t, "check", "ports", ns), mapping))
	wantAnswer(t, o.ns, hostV4, "8080", "hello")
	wantAnswer(t, o.ns, hostV6, "8080", "hello")

	succeed(t, with(cnitool(t, "del", "ports", ns), mapping))
	wantNothing(t, "ports")
	if answer, err := ask(o.ns, hostV4, "8080"); err == nil {
		t.Errorf("port 8080 after del: got %q, want an error", answer)
	}
}

// cnitool prepares a run of containernetworking's tool on interface eth0 of a namespace.
func cnitool(t *testing.T, verb, network string, ns *testnet.Namespace) *exec.Cmd {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	cmd := command(t, filepath.Join(root, ".tools", "cnitool"), verb, network, ns.Path)
	return with(cmd, "NETCONFPATH="+confDir, "CNI_PATH="+pluginDir)
}

// with adds to the environment of a command.
func with(cmd *exec.Cmd, env ...string) *exec.Cmd {
	cmd.Env = append(cmd.Environ(), env...)
	return cmd
}

// writeConf makes a network known to the runtimes as long as the test runs.
func writeConf(t *testing.T, conf string) {
	t.Helper()
	writeFile(t, filepath.Join(confDir, "10-test.conflist"), conf)
}

// noAddresses removes the directories of addresses that networks of earlier tests have left: gc finds those without a file.
func noAddresses(t *testing.T) {
	t.Helper()
	left, err := filepath.Glob("/var/lib/cni/networks/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range append(left, "/var/lib/cni/networks/.fairway") {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// removeLink removes a bridge at the end of the test, because plugins leave it for the next container.
func removeLink(t *testing.T, name string) {
	t.Helper()
	t.Cleanup(func() { succeed(t, command(t, "ip", "link", "del", name)) })
}

// wantAddresses compares the addresses of a result as a plugin printed it.
func wantAddresses(t *testing.T, stdout string, want ...string) {
	t.Helper()
	var result types100.Result
	if err := json.Unmarshal([]byte(stdout), &result); err != nil {
		t.Fatalf("result: %v\n%s", err, stdout)
	}
	if diff := cmp.Diff(want, addresses(&result)); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
}

func addresses(result *types100.Result) []string {
	var all []string
	for _, ip := range result.IPs {
		all = append(all, ip.Address.String())
	}
	return all
}

// wantLinks expects a namespace to hold exactly these links.
func wantLinks(t *testing.T, ns *testnet.Namespace, want ...string) {
	t.Helper()
	var links []struct{ IfName string }
	out := succeed(t, commandIn(t, ns.Path, "ip", "-json", "link"))
	if err := json.Unmarshal([]byte(out), &links); err != nil {
		t.Fatalf("ip -json link: %v\n%s", err, out)
	}
	var got []string
	for _, link := range links {
		got = append(got, link.IfName)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("links of %s (-want +got):\n%s", ns.Path, diff)
	}
}
