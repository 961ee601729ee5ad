package kernels

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// Addresses of what lies outside the host.
const (
	outside4, outside6 = "192.0.2.1", "2001:db8::1"
	host4              = "192.0.2.10"
)

// outsides are the outside's addresses in the families that the kernel has.
func outsides() []string {
	if !testnet.HasIPv6() {
		return []string{outside4}
	}
	return []string{outside4, outside6}
}

// newWorld gives a test a host whose uplink is called eth0, and what lies at the other end of its cable, where link wire is.
// That knows no way to containers but by the host's own address, unless it is given one.
func newWorld(t *testing.T) (host, outside *testnet.Namespace) {
	t.Helper()
	host, outside = testnet.NewHost(t), testnet.NewNS(t, "outside")
	ip(t, host, "link add eth0 type veth peer name wire netns "+outside.Path)
	ip(t, host, "link set eth0 up")
	ip(t, outside, "link set lo up")
	ip(t, outside, "link set wire up")
	ip(t, host, "addr add "+host4+"/24 dev eth0")
	ip(t, outside, "addr add "+outside4+"/24 dev wire")
	ip(t, host, "route add default via "+outside4)
	if testnet.HasIPv6() {
		ip(t, host, "addr add 2001:db8::10/64 dev eth0 nodad")
		ip(t, outside, "addr add "+outside6+"/64 dev wire nodad")
		ip(t, host, "route add default via "+outside6)
	}
	return host, outside
}

// ip runs ip(8).
func ip(t *testing.T, n *testnet.Namespace, words string) string {
	t.Helper()
	return n.Sh(t, "ip", strings.Fields(words)...)
}

// answers expects an answer to one of some pings.
func answers(t *testing.T, from *testnet.Namespace, addr string) {
	t.Helper()
	if out, err := from.Command("busybox", "ping", "-c", "1", "-w", "10", addr).CombinedOutput(); err != nil {
		t.Errorf("%s does not answer: %v\n%s", addr, err, out)
	}
}

// silent expects no answer to a ping.
func silent(t *testing.T, from *testnet.Namespace, addr string) {
	t.Helper()
	if out, err := from.Command("busybox", "ping", "-c", "1", "-W", "1", "-w", "2", addr).CombinedOutput(); err == nil {
		t.Errorf("%s answers:\n%s", addr, out)
	}
}

// leavesNothing expects neither links nor elements of a network's containers on the host.
func leavesNothing(t *testing.T, host *testnet.Namespace, network string) {
	t.Helper()
	if links := ip(t, host, "-o link"); strings.Contains(links, "fairway "+network+" ") {
		t.Errorf("links are left:\n%s", links)
	}
	if rules := host.Sh(t, "nft", "list", "ruleset"); strings.Contains(rules, `"fairway `+network+" ") {
		t.Errorf("elements are left:\n%s", rules)
	}
}

// fairway runs the command on a host.
func fairway(t *testing.T, host *testnet.Namespace, args ...string) string {
	t.Helper()
	cmd := host.Command(filepath.Join(binDir, "fairway"), args...)
	cmd.Env = append(cmd.Environ(), "NETCONFPATH="+confDir, "CNI_PATH="+pluginDir)
	return said(t, cmd)
}

// said is what a command prints when it succeeds.
func said(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, out.String(), errs.String())
	}
	return out.String()
}
