package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
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
func (h *member) cni(t *testing.T, verb, network string, ns *testnet.Namespace) *exec.Cmd {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	cmd := h.inBoot(t, filepath.Join(root, ".tools", "cnitool"), verb, network, ns.Path)
	return with(cmd, "NETCONFPATH="+h.netconfDir(), "CNI_PATH="+pluginDir)
}

// add attaches a new container and gives its namespace and its first address.
func (h *member) add(t *testing.T, network, name string) (*testnet.Namespace, string) {
	t.Helper()
	ns := testnet.NewNS(t, name)
	return ns, addressOf(t, succeed(t, h.cni(t, "add", network, ns)))
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
func (h *member) refuse(t *testing.T, network string, ns *testnet.Namespace) (code int, text string) {
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
	cmd := with(h.inBoot(t, filepath.Join(pluginDir, "overlay-vxlan")),
		"CNI_COMMAND=ADD", "CNI_CONTAINERID=late", "CNI_IFNAME=eth0", "CNI_NETNS="+ns.Path, "CNI_PATH="+pluginDir)
	cmd.Stdin = bytes.NewReader(stdin)
	stdout, stderr, err := run(cmd)
	if err == nil {
		t.Fatalf("add: got success, want an error: %s", stdout)
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

// Containers of three hosts, whose agents and etcd come and go.
func TestContainersOnThreeHosts(t *testing.T) {
	c := newCluster(t, 3, 3)
	c.start(t)
	h1, h2, h3 := c.hosts[0], c.hosts[1], c.hosts[2]
	c.put(t, h1, agentapi.Network{Name: "blue", Subnets: []agentapi.Subnet{
		{Prefix: netip.MustParsePrefix("10.42.0.0/16")}, {Prefix: netip.MustParsePrefix("fd42::/64")},
	}})
	a, addrA := h1.add(t, "blue", "a")
	b, addrB := h2.add(t, "blue", "b")
	_, addrC := h3.add(t, "blue", "c")
	ping(t, a.Path, addrB)
	ping(t, a.Path, addrC)
	ping(t, b.Path, addrC)
	succeed(t, h1.cni(t, "status", "blue", a))

	t.Run("agents killed", func(t *testing.T) {
		containerFlow(t, a, b, addrB, func() {
			for _, h := range c.hosts {
				h.kill(t)
			}
			said := fail(t, h1.cni(t, "status", "blue", a))
			if !strings.Contains(said, "node agent") {
				t.Errorf("status without an agent: %s", said)
			}
			comeAndGo(t, h1, b, addrA)
			c.start(t)
			for _, h := range c.hosts {
				awaitHealthy(t, h)
			}
			succeed(t, h1.cni(t, "check", "blue", a))
		})
	})
	t.Run("etcd stopped", func(t *testing.T) {
		containerFlow(t, a, b, addrB, func() {
			for i := range 3 {
				if err := c.etcd.Kill(i); err != nil {
					t.Fatal(err)
				}
			}
			comeAndGo(t, h1, b, addrA)
			succeed(t, h1.cni(t, "check", "blue", a))
			eventually(t, "status says that etcd is away", func() bool {
				_, stderr, err := run(h1.cni(t, "status", "blue", a))
				return err != nil && strings.Contains(stderr, "no connection to etcd")
			})
			if err := c.etcd.Restart(0, 1, 2); err != nil {
				t.Fatal(err)
			}
			for _, h := range c.hosts {
				awaitHealthy(t, h)
			}
		})
	})
	t.Run("in use", func(t *testing.T) {
		err := h3.api().Delete(t.Context(), "blue")
		if !errors.Is(err, agentapi.ErrInUse) {
			t.Errorf("delete: error %v, want one that is ErrInUse", err)
		}
	})
	t.Run("pinned address", func(t *testing.T) { pinnedAddress(t, h1, b) })
	t.Run("exhausted", func(t *testing.T) { exhausted(t, c) })
}

// containerFlow is flow between containers.
func containerFlow(t *testing.T, from, to *testnet.Namespace, addr string, meanwhile func()) {
	t.Helper()
	f, err := testnet.StartFlow(from, to, netip.MustParseAddr(addr))
	if err != nil {
		t.Fatal(err)
	}
	meanwhile()
	if err := f.Stop(patience); err != nil {
		t.Error(err)
	}
}

// comeAndGo attaches a container, reaches it from another host, and detaches it twice.
func comeAndGo(t *testing.T, h *member, from *testnet.Namespace, other string) {
	t.Helper()
	ns, addr := h.add(t, "blue", "guest")
	ping(t, ns.Path, other)
	ping(t, from.Path, addr)
	succeed(t, h.cni(t, "del", "blue", ns))
	succeed(t, h.cni(t, "del", "blue", ns))
	wantLinks(t, ns, "lo")
}

// pinnedAddress gives a container an address outside of its host's blocks.
func pinnedAddress(t *testing.T, h *member, from *testnet.Namespace) {
	const addr = "10.42.250.77"
	ns := testnet.NewNS(t, "pinned")
	asked := "CNI_ARGS=IgnoreUnknown=1;IP=" + addr
	fail(t, with(h.cni(t, "add", "blue", ns), asked))
	pin := agentapi.Pin{Address: netip.MustParseAddr(addr), ContainerID: "c", IfName: "eth0"}
	if err := h.api().Pin(t.Context(), "blue", pin); err != nil {
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

// Four blocks of three addresses, for three hosts: two need another one, and one gets it.
func exhausted(t *testing.T, c *cluster) {
	h1, h2 := c.hosts[0], c.hosts[1]
	if _, err := h1.api().Put(t.Context(), agentapi.Network{Name: "tight", Subnets: []agentapi.Subnet{
		{Prefix: netip.MustParsePrefix("10.48.0.0/28"), BlockLength: 30},
	}}); err != nil {
		t.Fatal(err)
	}
	for _, h := range c.hosts {
		eventually(t, h.name+" owns a block", func() bool { return blocksOf(h, "tight") == 1 })
	}
	for _, name := range []string{"1", "2", "3"} {
		h1.add(t, "tight", name)
	}
	eventually(t, "h1 has claimed another block", func() bool { return blocksOf(h1, "tight") == 2 })
	h1.add(t, "tight", "4")
	for _, name := range []string{"5", "6", "7"} {
		h2.add(t, "tight", name)
	}
	eventually(t, "h2 says that there is no block left", func() bool {
		health, err := h2.api().Health(t.Context())
		return err == nil && strings.Contains(strings.Join(health.Problems, "\n"), "all in use")
	})
	const tryAgain = 11
	if code, text := h2.refuse(t, "tight", testnet.NewNS(t, "8")); code != tryAgain {
		t.Errorf("add without a free address: code %d (%s), want %d", code, text, tryAgain)
	}
	h2.kill(t)
	if code, text := h2.refuse(t, "tight", testnet.NewNS(t, "9")); code != tryAgain {
		t.Errorf("the same without an agent: code %d (%s), want %d", code, text, tryAgain)
	}
	h2.start(t)
}

// blocksOf is how many blocks a host owns, as far as its own agent knows.
func blocksOf(h *member, network string) int {
	peers, err := h.api().Peers(h.ends.Context(), network)
	if err != nil {
		return 0
	}
	for _, p := range peers {
		if p.Self {
			return len(p.Blocks)
		}
	}
	return 0
}
