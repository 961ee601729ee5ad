package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// udhcpdConf is the machine's DHCP server.
const udhcpdConf = `start 10.71.0.100
end 10.71.0.109
interface switch
max_leases 10
lease_file %[1]s/leases
pidfile %[1]s/pid
option subnet 255.255.255.0
option router 10.71.0.250
option lease 600
`

// TestDHCP: upstream's plugin asks through the container's link, which has to be there before the address.
func TestDHCP(t *testing.T) {
	for _, network := range []struct{ name, plugin string }{
		{"macvlan", `{"type": "macvlan", "master": "lan0", "ipam": {"type": "dhcp"}}`},
		{"bridge", `{"type": "bridge", "bridge": "switched0", "ipam": {"type": "dhcp"}}`},
	} {
		t.Run(network.name, func(t *testing.T) {
			writeConf(t, `{"cniVersion": "1.0.0", "name": "dhcp", "plugins": [`+network.plugin+`]}`)
			l := newLAN(t)
			if network.name == "bridge" {
				succeed(t, command(t, "ip", "link", "add", "switched0", "up", "type", "bridge"))
				removeLink(t, "switched0")
				succeed(t, command(t, "ip", "link", "set", "lan0", "master", "switched0"))
			}
			startServer(t, l)
			startClients(t)
			ns := testnet.NewNS(t, "a")
			if result := succeed(t, cnitool(t, "add", "dhcp", ns)); !strings.Contains(result, `"address": "10.71.0.10`) {
				t.Errorf("result: %s", result)
			}
			ping(t, ns.Path, machineV4)
			succeed(t, cnitool(t, "check", "dhcp", ns))
			succeed(t, cnitool(t, "del", "dhcp", ns))
			wantLinks(t, ns, "lo")
			wantNothing(t, "dhcp")
		})
	}
}

// startServer runs the DHCP server of the machine until the test ends.
func startServer(t *testing.T, l lan) {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "udhcpd.conf")
	if err := os.WriteFile(conf, []byte(fmt.Sprintf(udhcpdConf, dir)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "leases"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	startUntilEnd(t, l.machine.Command("busybox", "udhcpd", "-f", conf))
}

// startClients runs the daemon of upstream's plugin, which keeps the leases of all containers.
func startClients(t *testing.T) {
	t.Helper()
	const socket = "/run/cni/dhcp.sock" // where the plugin looks
	startUntilEnd(t, exec.Command(filepath.Join(pluginDir, "dhcp"), "daemon"))
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		if time.Since(start) > 20*time.Second {
			t.Fatalf("%s does not appear", socket)
		}
	}
	t.Cleanup(func() { _ = os.Remove(socket) }) // for the next daemon
}

// startUntilEnd runs a program until the test ends, and shows what it said when the test has failed.
func startUntilEnd(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	said := new(transcript)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // killed
		if t.Failed() {
			t.Logf("%s:\n%s", strings.Join(cmd.Args, " "), tail(said.String(), 20))
		}
	})
}
