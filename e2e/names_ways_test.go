package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// startFairwayd runs fairwayd with what its unit leaves of root's capabilities, until the test ends. Its etcd does not answer.
func startFairwayd(t *testing.T) *testnet.Process {
	t.Helper()
	bounding := "-all"
	for _, capability := range strings.Fields(unitSetting(t, "CapabilityBoundingSet")) {
		bounding += ",+" + strings.ToLower(strings.TrimPrefix(capability, "CAP_"))
	}
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	daemon, err := testnet.Start(exec.Command("setpriv", "--bounding-set="+bounding, "--no-new-privs", filepath.Join(root, "bin", "fairwayd"),
		"--node=here", "--etcd-endpoints=http://127.0.0.1:1", "--underlay=lo", "--netconf-dir="+filepath.Join(dir, "net.d"),
		"--run-dir="+filepath.Join(dir, "run"), "--state-dir="+filepath.Join(dir, "state"), "--data-dir="+filepath.Join(dir, "data")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := daemon.Stop(unix.SIGKILL); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of fairwayd:\n%s", daemon.Log())
		}
	})
	eventually(t, "fairwayd answers names", func() bool { return strings.Contains(daemon.Log(), "names are answered") })
	return daemon
}

// TestLampWithFairwayd: the service answers, without etcd too. Killed, it takes over what there is; while it is away, the next
// container starts a resolver, whose place it takes.
func TestLampWithFairwayd(t *testing.T) {
	createNetwork(t, "--subnet", "10.83.0.0/24", "served")
	createNetwork(t, "--subnet", "10.84.0.0/24", "elsewhere")
	awaitNoResolver(t) // of an earlier test
	daemon := startFairwayd(t)
	musl := muslLookup(t)
	lamp := map[string]*insider{}
	address := map[string]string{"apache": "10.83.0.2", "php": "10.83.0.3", "mysql": "10.83.0.4"}
	for _, name := range []string{"apache", "php", "mysql"} {
		lamp[name] = startInsider(t, "--network", "served", "--network-alias", name)
	}
	fourth := startInsider(t, "--network", "elsewhere", "--name", "fourth")
	wantLamp := func() {
		t.Helper()
		for _, g := range lamp {
			for name, address := range address {
				g.wantName(t, musl, name, address)
			}
		}
		if got := fourth.do(t, "dig +short apache; getent hosts mysql"); got != "" {
			t.Errorf("a container of another network is told %q", got)
		}
	}
	wantLamp()
	if pids := resolvers(t); len(pids) > 0 {
		t.Errorf("beside the service, %v answer names", pids)
	}
	if err := daemon.Stop(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	daemon = startFairwayd(t)
	wantLamp()

	if err := daemon.Stop(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	lamp["perl"] = startInsider(t, "--network", "served", "--alias", "perl")
	address["perl"] = "10.83.0.5"
	wantLamp()
	if pids := resolvers(t); len(pids) != 1 {
		t.Errorf("without the service, %v answer names", pids)
	}
	startFairwayd(t)
	awaitNoResolver(t)
	wantLamp()
	for _, g := range lamp {
		g.end(t)
	}
	fourth.end(t)
	wantNothing(t, "served")
}

// TestNamesByArguments: what runtimes say of a container by CNI_ARGS and capabilities, as nerdctl and CRI do.
func TestNamesByArguments(t *testing.T) {
	createNetwork(t, "--subnet", "10.85.0.0/24", "told")
	asker := testnet.NewNS(t, "asker")
	for i, test := range []struct {
		name, args, capabilities string
		found                    []string // the first one answers for the address
	}{
		{"nerdctl", "IgnoreUnknown=1;NERDCTL_CNI_DHCP_HOSTNAME=apache", "", []string{"apache"}},
		{"aliases", "", `{"aliases": ["mysql", "DB"]}`, []string{"mysql", "db"}},
		{"aliases by network", "", `{"aliases": {"told": ["php"], "other": ["hidden"]}}`, []string{"php"}},
		{"pod", "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=1;K8S_POD_UID=2", "", []string{"web-0", "web-0.shop"}},
		{"server of its own", "", `{"aliases": ["own"], "dns": {"servers": ["192.0.2.53"]}}`, []string{"own"}},
	} {
		ns := testnet.NewNS(t, fmt.Sprint("told", i))
		told := with(cnitool(t, "add", "told", ns), "CNI_ARGS="+test.args, "CAP_ARGS="+test.capabilities)
		result := succeed(t, told)
		address := addressOf(t, result)
		for _, want := range []string{`"nameservers": [`, `"127.0.0.11"`, `"ndots:0"`} {
			if !strings.Contains(result, want) {
				t.Errorf("%s: no %s in the result: %s", test.name, want, result)
			}
		}
		succeed(t, cnitool(t, "add", "told", asker))
		succeed(t, commandIn(t, asker.Path, "ip", "link", "set", "lo", "up"))
		for _, name := range test.found {
			if got := succeed(t, commandIn(t, asker.Path, "dig", "+short", "@127.0.0.11", name)); got != address+"\n" {
				t.Errorf("%s: %s is at %q, want %s", test.name, name, got, address)
			}
		}
		if got := succeed(t, commandIn(t, asker.Path, "dig", "+short", "@127.0.0.11", "-x", address)); got != test.found[0]+".told.\n" {
			t.Errorf("%s: %s is %q, want %s.told.", test.name, address, got, test.found[0])
		}
		succeed(t, cnitool(t, "del", "told", asker))
		succeed(t, with(cnitool(t, "del", "told", ns), "CNI_ARGS="+test.args, "CAP_ARGS="+test.capabilities))
	}
	wantNothing(t, "told")
}
