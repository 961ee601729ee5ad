package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// cni prepares a run of cnitool on a host.
func (h *member) cni(t *testing.T, verb, network string, c guest) *exec.Cmd {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	cmd := h.Command(filepath.Join(root, ".tools", "cnitool"), verb, network, c.inside)
	return with(cmd, "NETCONFPATH="+confDir, "CNI_PATH="+pluginDir)
}

// add attaches a new container and gives its namespace and its first address.
func (h *member) add(t *testing.T, network, name string) (guest, string) {
	t.Helper()
	made := h.newGuest(t, name)
	return made, addressOf(t, succeed(t, h.cni(t, "add", network, made)))
}

// addressOf is the first address of a result.
func addressOf(t *testing.T, result string) string {
	t.Helper()
	_, after, found := strings.Cut(result, `"address": "`)
	addr, _, _ := strings.Cut(after, "/")
	if _, err := netip.ParseAddr(addr); !found || err != nil {
		t.Fatalf("no address in the result: %s", result)
	}
	return addr
}

// refuse runs the plugin itself, as cnitool leaves out the code of an error, and expects one.
func (h *member) refuse(t *testing.T, verb, network string, c guest) (code int, text string) {
	t.Helper()
	content, err := os.ReadFile(h.conflist(network))
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Plugins []map[string]any }
	if err := json.Unmarshal(content, &list); err != nil {
		t.Fatal(err)
	}
	list.Plugins[0]["name"], list.Plugins[0]["cniVersion"] = network, "1.1.0"
	stdin, err := json.Marshal(list.Plugins[0])
	if err != nil {
		t.Fatal(err)
	}
	cmd := with(h.Command(filepath.Join(pluginDir, "overlay-vxlan")),
		"CNI_COMMAND="+verb, "CNI_CONTAINERID=late", "CNI_IFNAME=eth0", "CNI_NETNS="+c.inside, "CNI_PATH="+pluginDir)
	cmd.Stdin = bytes.NewReader(stdin)
	stdout, stderr, err := run(cmd)
	if err == nil {
		t.Fatalf("%s: got success, want an error: %s", verb, stdout)
	}
	var said struct {
		Code int
		Msg  string
	}
	if err := json.Unmarshal([]byte(stdout), &said); err != nil {
		t.Fatalf("error of the plugin: %v\n%s\n%s", err, stdout, stderr)
	}
	return said.Code, said.Msg
}

// Codes of errors (CNI specification 1.1.0, section 5).
const (
	tryAgain = 11
)

// wantRefusal expects an error of a code from a plugin.
func wantRefusal(t *testing.T, h *member, verb, network string, code int, text string) {
	t.Helper()
	ns := h.newGuest(t, "late")
	if got, said := h.refuse(t, verb, network, ns); got != code || !strings.Contains(said, text) {
		t.Errorf("%s on %s: code %d (%s), want %d (… %s …)", verb, h.Name, got, said, code, text)
	}
	wantLinks(t, ns.Namespace, "lo")
}

// wantLimit expects STATUS to succeed and to warn.
func wantLimit(t *testing.T, h *member, network, text string) {
	t.Helper()
	_, said, err := run(h.cni(t, "status", network, h.newGuest(t, "asks")))
	if err != nil || !strings.Contains(said, text) {
		t.Errorf("STATUS on %s: %v (%s), want a warning (… %s …)", h.Name, err, said, text)
	}
}

// Containers of three hosts, whose agents and etcd come and go.
func TestContainersOnThreeHosts(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 4, 3)
	other := c.hosts[3] // none of the three
	c.hosts = c.hosts[:3]
	c.start(t)
	h1, h2, h3 := c.hosts[0], c.hosts[1], c.hosts[2]
	blue := c.put(t, h1, agentapi.Network{Name: "blue", Subnets: []agentapi.Subnet{
		{Prefix: netip.MustParsePrefix("10.42.0.0/16")}, {Prefix: netip.MustParsePrefix("fd42::/64")},
	}})
	p := &pair{cluster: c, network: blue, other: other}
	p.a, p.addrA = h1.add(t, "blue", "a")
	p.b, p.addrB = h2.add(t, "blue", "b")
	third, addrC := h3.add(t, "blue", "c")
	for _, way := range [][2]guest{{p.a, p.b}, {p.a, third}, {p.b, p.a}, {p.b, third}, {third, p.a}, {third, p.b}} {
		for _, addr := range addressesIn(t, way[1]) {
			ping(t, way[0].Path, addr)
		}
	}
	succeed(t, h1.cni(t, "status", "blue", p.a))

	t.Run("path MTU", p.pathMTU)
	t.Run("a stranger's packet", p.stranger)
	t.Run("another network", p.isolated)
	t.Run("agents killed", p.agentsKilled)
	t.Run("etcd stopped for a minute", p.etcdStopped)
	t.Run("etcd's leader killed", p.leaderKilled)
	t.Run("in use", func(t *testing.T) {
		err := h3.Agent().Delete(t.Context(), "blue")
		if !errors.Is(err, agentapi.ErrInUse) || !strings.Contains(err.Error(), "host3") {
			t.Errorf("delete: error %v, want one that is ErrInUse and names h3", err)
		}
	})
	t.Run("pinned address", func(t *testing.T) { pinnedAddress(t, h1, p.b) })
	t.Run("rebooted", func(t *testing.T) { p.rebooted(t, addrC) })
}

// pair is a container on the first host and one on the second, on one network of three hosts.
type pair struct {
	*cluster
	network      agentapi.Network
	a, b         guest
	addrA, addrB string
	other        *member // a host without an agent
}

// addressesIn are those of eth0, one of each family.
func addressesIn(t *testing.T, ns guest) (addrs []string) {
	t.Helper()
	for _, line := range strings.Split(ns.Sh(t, "ip", "-o", "addr", "show", "dev", "eth0", "scope", "global"), "\n") {
		if fields := strings.Fields(line); len(fields) > 3 {
			addr, _, _ := strings.Cut(fields[3], "/")
			addrs = append(addrs, addr)
		}
	}
	if len(addrs) != 2 {
		t.Fatalf("addresses %v, want one of each family", addrs)
	}
	return addrs
}

// flow sends packets from one namespace to another until the given function returns, and expects all to arrive.
func flow(t *testing.T, from, to *testnet.Namespace, addr string, meanwhile func()) {
	t.Helper()
	ping(t, from.Path, addr)
	f, err := testnet.StartFlow(from, to, netip.MustParseAddr(addr))
	if err != nil {
		t.Fatal(err)
	}
	meanwhile()
	if err := f.Stop(patience); err != nil {
		t.Error(err)
	}
}

// comeAndGo attaches a container to a host, reaches it from another host, and detaches it twice.
func comeAndGo(t *testing.T, h *member, from guest, other string) {
	t.Helper()
	h.guests++
	ns, addr := h.add(t, "blue", fmt.Sprintf("guest%d", h.guests))
	ping(t, ns.Path, other)
	ping(t, from.Path, addr)
	succeed(t, h.cni(t, "del", "blue", ns))
	succeed(t, h.cni(t, "del", "blue", ns))
	wantLinks(t, ns.Namespace, "lo")
}

// pinnedAddress gives a container an address outside of its host's blocks.
func pinnedAddress(t *testing.T, h *member, from guest) {
	const addr = "10.42.250.77"
	ns := h.newGuest(t, "pinned")
	asked := "CNI_ARGS=IgnoreUnknown=1;IP=" + addr
	fail(t, with(h.cni(t, "add", "blue", ns), asked))
	pin := agentapi.Pin{Address: netip.MustParseAddr(addr), ContainerID: "c", IfName: "eth0"}
	if err := h.Agent().Pin(t.Context(), "blue", pin); err != nil {
		t.Fatal(err)
	}
	if got := addressOf(t, succeed(t, with(h.cni(t, "add", "blue", ns), asked))); got != addr {
		t.Errorf("address %s, want %s", got, addr)
	}
	eventually(t, "another host reaches the pinned address", func() bool {
		return commandIn(t, from.Path, "busybox", "ping", "-c1", "-W2", addr).Run() == nil
	})
	succeed(t, with(h.cni(t, "del", "blue", ns), asked))
}
