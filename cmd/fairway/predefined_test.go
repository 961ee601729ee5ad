package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestPredefinedBridge: the default network takes nothing from the host: it is where nobody is when it is first used, and stays there as
// long as its bridge does, whatever comes later.
func TestPredefinedBridge(t *testing.T) {
	testnet.NewHost(t)
	s := newShell(t)
	testnet.Sh(t, "ip", "link", "add", "uplink", "up", "type", "veth", "peer", "name", "far0")
	testnet.Sh(t, "ip", "link", "set", "far0", "up")
	testnet.Sh(t, "ip", "address", "add", "192.0.2.11/24", "dev", "uplink")
	subnet := func() string {
		t.Helper()
		return strings.TrimSpace(s.succeed(t, "inspect", "-f", "{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}}{{end}}", "bridge"))
	}
	if got := subnet(); got != "10.87.0.0/16 10.87.0.1" {
		t.Errorf("with nothing in the way: %s", got)
	}
	testnet.Sh(t, "ip", "route", "add", "10.0.0.0/8", "via", "192.0.2.1")
	testnet.Sh(t, "ip", "route", "add", "172.17.0.0/16", "via", "192.0.2.1")
	const want = "172.18.0.0/16 172.18.0.1"
	if got := subnet(); got != want {
		t.Errorf("beside a VPN: %s, want %s", got, want)
	}
	web, err := testnet.New("web")
	if err != nil {
		t.Fatal(err)
	}
	defer web.Close()
	s.succeed(t, "connect", "bridge", "netns:"+web.Path)
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "fwbridge0").Run() }) // its namespace goes anyway
	testnet.Sh(t, "ip", "route", "del", "172.17.0.0/16")
	testnet.Sh(t, "ip", "route", "add", "172.18.7.0/24", "via", "192.0.2.1")
	if got := subnet(); got != want {
		t.Errorf("once it is used: %s, want %s", got, want)
	}
	if _, said, status := s.run("create", "--subnet", "172.18.9.0/24", "shop"); status == 0 || !strings.Contains(said, "overlaps") {
		t.Errorf("create of an overlapping network: status %d, %s", status, said)
	}
	out, _, status := s.run("doctor", "--check", "subnets")
	if status != exitFailure || !strings.Contains(out, "172.18.0.0/16 of network bridge overlaps the route to 172.18.7.0/24") {
		t.Errorf("doctor: status %d, %s", status, out)
	}
	file := strings.TrimSpace(s.succeed(t, "install", "bridge"))
	if got := subnet(); got != want {
		t.Errorf("in %s: %s, want %s", file, got, want)
	}
	s.succeed(t, "install", "--remove", "bridge")
	s.succeed(t, "disconnect", "bridge", "netns:"+web.Path)
}
