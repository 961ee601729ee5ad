package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// unitSetting is a setting of the agent's unit for systemd.
func unitSetting(t *testing.T, key string) string {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "packaging", "fairwayd.service"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if value, found := strings.CutPrefix(line, key+"="); found {
			return value
		}
	}
	t.Fatalf("the unit has no %s", key)
	return ""
}

// manager is systemd as a service sees it (sd_notify(3)).
type manager struct{ *net.UnixConn }

func newManager(t *testing.T) manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // all that matters has been read
	return manager{conn}
}

func (m manager) want(t *testing.T, state string) {
	t.Helper()
	if err := m.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	message := make([]byte, 1024)
	n, err := m.Read(message)
	if err != nil || string(message[:n]) != state {
		t.Fatalf("the service manager was told %q, %v, want %q", message[:n], err, state)
	}
}

// The agent as a service: options from a file, the capabilities of its unit, and word to systemd.
func TestService(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, 1)
	h := c.hosts[0]
	const file = "/etc/fairway/fairwayd.yaml"
	content := "etcd-endpoints: [" + c.etcd.Endpoints()[0] + "]\nnode: by-the-file\nmetrics-address: 127.0.0.1:9100\nunderlay: eth0\n"
	if err := os.WriteFile(h.File(file), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := unitSetting(t, "Type"); got != "notify" {
		t.Errorf("the unit's type is %s, want notify", got)
	}
	if got := unitSetting(t, "ExecStart"); !strings.HasSuffix(got, "fairwayd --config /etc/fairway/fairwayd.yaml") {
		t.Errorf("the unit starts %s", got)
	}
	bounding := "-all"
	for _, capability := range strings.Fields(unitSetting(t, "CapabilityBoundingSet")) {
		bounding += ",+" + strings.ToLower(strings.TrimPrefix(capability, "CAP_"))
	}
	systemd := newManager(t)
	cmd := h.Command("setpriv", "--bounding-set="+bounding, "--no-new-privs", filepath.Join(pluginDir, "fairwayd"), "--config", file, "--node", h.Name)
	agent, err := testnet.Start(with(cmd, "NOTIFY_SOCKET="+systemd.LocalAddr().String()))
	if err != nil {
		t.Fatal(err)
	}
	h.agent = agent
	h.endAgent()
	systemd.want(t, "READY=1")
	blue := c.put(t, h, overlayNet("blue", "10.42.0.0/16"))
	awaitHealthy(t, h)
	wantService(t, h)
	wantHeld(t, h)

	if err := h.agent.Stop(unix.SIGTERM); err != nil {
		t.Errorf("the end after SIGTERM: %v", err)
	}
	systemd.want(t, "STOPPING=1")
	if h.try("ip", "link", "show", fmt.Sprintf("fwvx%d", blue.VNI)) == "" || !exists(h.conflist("blue")) {
		t.Error("the network went with the agent")
	}
	if _, err := h.Agent().Health(t.Context()); !errors.Is(err, agentapi.ErrNoAgent) {
		t.Errorf("health of an agent that was stopped: error %v, want one that is ErrNoAgent", err)
	}
	h.agent = nil
}

// wantHeld publishes a port below 1024, which not everybody may take, and looks whether the agent holds it.
func wantHeld(t *testing.T, h *member) {
	t.Helper()
	call := func(verb string) {
		h.Sh(t, "sh", "-ec", `printf '{"cniVersion": "1.0.0", "name": "web", "type": "bridge", "bridge": "web0", "isGateway": true,
			"capabilities": {"portMappings": true}, "runtimeConfig": {"portMappings": [{"hostPort": 80, "containerPort": 80, "protocol": "tcp"}]},
			"ipam": {"type": "host-local", "subnet": "10.44.0.0/24"}}' |
			CNI_COMMAND=`+verb+` CNI_CONTAINERID=web CNI_NETNS=/run/netns/web CNI_IFNAME=eth0 CNI_PATH=`+pluginDir+` `+pluginDir+`/bridge`)
	}
	listening := func() bool { return strings.Contains(h.Sh(t, "ss", "-Hltn"), "0.0.0.0:80 ") }
	h.Sh(t, "ip", "netns", "add", "web")
	call("ADD")
	eventually(t, "the published port is held", listening)
	call("DEL")
	eventually(t, "it is let go", func() bool { return !listening() })
	h.Sh(t, "sh", "-ec", "ip netns del web; ip link del web0")
}

// wantService looks at what the agent of one host serves.
func wantService(t *testing.T, h *member) {
	t.Helper()
	health, err := h.Agent().Health(t.Context())
	if err != nil || health.Node != h.Name || health.Networks != 1 {
		t.Errorf("health %+v, %v, want that of one network on %s: flags come before the file", health, err, h.Name)
	}
	socket := h.File(agentapi.Socket(agentapi.DefaultRunDir))
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the socket: %v, %v, want 0600", info, err)
	}
	for where, text := range map[string]string{
		"the socket": scrape(t, socket),
		"an address": h.Sh(t, "busybox", "wget", "-q", "-O-", "http://127.0.0.1:9100/metrics"),
	} {
		for _, line := range []string{
			"fairwayd_etcd_connected 1", `fairwayd_blocks{network="blue"} 1`, `fairwayd_peers{network="blue"} 0`, "fairwayd_problems 0",
			"# TYPE fairwayd_reconcile_seconds histogram",
		} {
			if !strings.Contains(text, line+"\n") {
				t.Errorf("metrics on %s have no %q:\n%s", where, line, text)
			}
		}
	}
	if out, err := h.Command("busybox", "wget", "-q", "-O-", "http://127.0.0.1:9100/v1/networks").CombinedOutput(); err == nil && strings.Contains(string(out), "10.42") {
		t.Error("the address for metrics serves the API too")
	}
}

// scrape reads the metrics on a socket.
func scrape(t *testing.T, socket string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	response, err := client.Get("http://fairwayd/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
