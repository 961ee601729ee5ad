package doctor_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/doctor"
	"github.com/fairway-cni/fairway/pkg/state/ports"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestMain(m *testing.M) {
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "doctor:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func prepare() error {
	if err := testnet.Isolate(); err != nil {
		return err
	}
	if err := testnet.BuildCommands("../../cmd/fairway"); err != nil {
		return err
	}
	return testnet.BuildPlugins("-ldflags", "-X github.com/fairway-cni/fairway/pkg/attach.Version=v1.2.0",
		"../../plugins/bridge", "../../plugins/host-local")
}

// host is a host of a test's own, with a way out.
type host struct {
	doctor.Places
}

func newHost(t *testing.T) *host {
	t.Helper()
	testnet.NewHost(t)
	ip(t, `
		link add up0 up type veth peer name far0
		link set far0 up
		addr add 192.0.2.10/24 dev up0
		route add default via 192.0.2.1`)
	return &host{doctor.Places{
		Netconf: t.TempDir(), Version: "v1.2.0", Agent: filepath.Join(t.TempDir(), "no-agent.sock"),
		Runtime: attachment.Runtime{Cache: t.TempDir(), Plugins: []string{testnet.PluginDir}},
	}}
}

// ip runs ip commands on the test's host, one a line.
func ip(t *testing.T, commands string) {
	t.Helper()
	for line := range strings.Lines(strings.TrimSpace(commands)) {
		testnet.Sh(t, "ip", strings.Fields(line)...)
	}
}

// bridge writes a bridge network with further keys, such as `"ipMasq": true`.
func (h *host) bridge(t *testing.T, name, subnet string, keys ...string) {
	t.Helper()
	h.network(t, name, fmt.Sprintf(`{"type": "bridge", "bridge": %q, "isDefaultGateway": true, %s
		"ipam": {"type": "host-local", "subnet": %q, "dataDir": %q}}`,
		name+"0", strings.Join(append(keys, ""), ", "), subnet, filepath.Join(h.Runtime.Cache, "networks")))
}

// network writes a network of one plugin.
func (h *host) network(t *testing.T, name, plugin string) {
	t.Helper()
	h.file(t, name+".conflist", fmt.Sprintf(`{"cniVersion": "1.1.0", "name": %q, "plugins": [%s]}`, name, plugin))
}

func (h *host) file(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(h.Netconf, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// attach puts a new container on a network.
func (h *host) attach(t *testing.T, network, container string, published ...ports.Port) *testnet.Namespace {
	t.Helper()
	n := h.find(t, network)
	ns := testnet.NewNS(t, container)
	if _, err := h.Runtime.Attach(t.Context(), n.List, attachment.Request{ID: container, Netns: ns.Path, Ports: published}); err != nil {
		t.Fatal(err)
	}
	return ns
}

func (h *host) find(t *testing.T, network string) conflist.Network {
	t.Helper()
	networks, err := conflist.Load(h.Netconf)
	if err != nil {
		t.Fatal(err)
	}
	n, err := networks.Find(network)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// finds makes one check, and expects its findings: the level, and texts that message and remedy hold.
func (h *host) finds(t *testing.T, check string, want ...finding) {
	t.Helper()
	got := h.run(t, check)
	if len(want) == 0 {
		want = []finding{{doctor.OK, ""}}
	}
	if len(got) != len(want) {
		t.Fatalf("check %s found %d, want %d:\n%s", check, len(got), len(want), printed(t, got))
	}
	for i, w := range want {
		text := strings.Join(strings.Fields(got[i].Message+" "+got[i].Command+" "+got[i].Remedy), " ")
		if got[i].Level != w.level || !strings.Contains(text, w.text) {
			t.Errorf("check %s found\n%swant %s with %q", check, printed(t, got[i:i+1]), w.level, w.text)
		}
		if (got[i].Level == doctor.OK) != (got[i].Command+got[i].Remedy == "") {
			t.Errorf("check %s: level %s with remedy %q", check, got[i].Level, got[i].Command+got[i].Remedy)
		}
	}
}

type finding struct {
	level doctor.Level
	text  string
}

func (h *host) run(t *testing.T, names ...string) []doctor.Finding {
	t.Helper()
	examined, err := doctor.Examine(h.Places)
	if err != nil {
		t.Fatal(err)
	}
	defer examined.Close()
	checks, err := doctor.Select(names)
	if err != nil {
		t.Fatal(err)
	}
	return doctor.Run(t.Context(), examined, checks)
}

func printed(t *testing.T, findings []doctor.Finding) string {
	t.Helper()
	var out bytes.Buffer
	if err := doctor.Print(&out, findings, doctor.Terminal{}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// A host with containers on two networks, and nothing wrong.
func TestHealthyHost(t *testing.T) {
	h := newHost(t)
	h.bridge(t, "blue", "10.4.0.0/24", `"ipMasq": true`)
	h.bridge(t, "dark", "10.5.0.0/24", `"internal": true`)
	h.attach(t, "blue", "web")
	h.attach(t, "dark", "job")
	findings := h.run(t)
	if len(findings) != len(doctor.Names()) || doctor.Worst(findings) != doctor.OK {
		t.Errorf("findings:\n%s", printed(t, findings))
	}
}

// A host on which nothing was ever done.
func TestFreshHost(t *testing.T) {
	if findings := newHost(t).run(t); doctor.Worst(findings) != doctor.OK {
		t.Errorf("findings:\n%s", printed(t, findings))
	}
}

// No check may change anything that the host has.
func TestNothingChanges(t *testing.T) {
	h := newHost(t)
	h.bridge(t, "blue", "10.4.0.0/24", `"ipMasq": true`)
	h.attach(t, "blue", "web")
	before := world(t, h)
	h.run(t)
	if after := world(t, h); before != after {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}

// world is what the host has, as text; without IPv6, of which the kernel goes on detecting duplicate addresses.
func world(t *testing.T, h *host) string {
	t.Helper()
	var all strings.Builder
	for _, command := range [][]string{
		{"ip", "link"}, {"ip", "-4", "address"}, {"ip", "-4", "route", "show", "table", "all"}, {"nft", "list", "ruleset"},
		{"find", h.Netconf, h.Runtime.Cache, "-type", "f", "-printf", `%p %s %T@\n`}, {"sysctl", "-n", "net.ipv4.ip_forward"},
	} {
		all.WriteString(testnet.Sh(t, command[0], command[1:]...) + "\n")
	}
	return all.String()
}

func TestSelect(t *testing.T) {
	if _, err := doctor.Select([]string{"mtu", "typo"}); err == nil || !strings.Contains(err.Error(), "netconf, subnets, plugins") {
		t.Errorf("an unknown check: %v", err)
	}
	checks, err := doctor.Select([]string{"mtu", "kernel"})
	if err != nil || len(checks) != 2 || checks[0].Name != "kernel" {
		t.Errorf("two checks: %+v, %v", checks, err)
	}
}

func TestPrint(t *testing.T) {
	findings := []doctor.Finding{
		{Check: "mtu", Level: doctor.OK, Message: "every MTU fits"},
		{Check: "leftovers", Level: doctor.Warning, Message: "link veth0\nis \x1b[1mof no container", Command: "fairway gc"},
		{Check: "agent", Level: doctor.Error, Message: "no agent", Remedy: "start it"},
	}
	want := `ok         mtu        every MTU fits
warning    leftovers  link veth0 is  [1mof no container
                      $ fairway gc
error      agent      no agent
                      remedy: start it
`
	if got := printed(t, findings); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	var coloured bytes.Buffer
	if err := doctor.Print(&coloured, findings[:1], doctor.Terminal{Colour: true}); err != nil || !strings.HasPrefix(coloured.String(), "\x1b[32mok       \x1b[0m  mtu") {
		t.Errorf("coloured: %q, %v", coloured.String(), err)
	}
	if text, err := json.Marshal(findings[0]); err != nil || string(text) != `{"check":"mtu","level":"ok","message":"every MTU fits"}` {
		t.Errorf("JSON: %s, %v", text, err)
	}
}

// TestPrintFits: at the width of a terminal, words stay whole, and a command stays on one line.
func TestPrintFits(t *testing.T) {
	const width = 60
	command := "nft insert rule ip filter FORWARD iifname br0 accept && nft insert rule ip filter FORWARD oifname br0 accept"
	var out bytes.Buffer
	err := doctor.Print(&out, []doctor.Finding{{
		Check: "firewall", Level: doctor.Error, Message: strings.Repeat("what containers send is dropped ", 5), Command: command, Remedy: strings.Repeat("look there ", 9),
	}}, doctor.Terminal{Width: width})
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for line := range strings.Lines(out.String()) {
		if strings.TrimSpace(line) == "$ "+command {
			found = true
		} else if len(line) > width+1 {
			t.Errorf("line of %d: %s", len(line), line)
		}
	}
	if !found {
		t.Errorf("the command is not on a line of its own:\n%s", out.String())
	}
}
