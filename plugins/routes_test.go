package plugins

import (
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestRouteToTheOwnSubnet: all traffic goes by the router, also that to the container's own subnet, before the kernel's route there; a
// second network's route to it gives way still.
func TestRouteToTheOwnSubnet(t *testing.T) {
	container := testnet.NewNS(t, "c")
	macvlan, _ := macvlanOn(t, container)
	for _, a := range []attachment{bridgeOn(t, testnet.NewNS(t, "b")).with("ipam", hostLocal(t.TempDir(), "10.1.0.0/24", "fd01::/64")), macvlan} {
		t.Run(a.plugin, func(t *testing.T) {
			a := a.withIPAM("routes", []map[string]string{{"dst": "10.1.0.0/24", "gw": "10.1.0.1"}})
			a = a.after(a.add(t))
			container := &testnet.Namespace{Path: a.env["CNI_NETNS"]}
			if got := container.Sh(t, "ip", "route", "get", "10.1.0.77"); !strings.Contains(got, "via 10.1.0.1 ") {
				t.Error(got)
			}
			a.succeed(t, "CHECK")
			a.succeed(t, "DEL")
		})
	}
}

// TestRouteWithHostBits: a destination is a network, however it is written.
func TestRouteWithHostBits(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c")).with("ipam", hostLocal(t.TempDir(), "10.1.0.0/24", "fd01::/64")).
		withIPAM("routes", []map[string]string{{"dst": "10.7.1.5/16"}, {"dst": "fd07::5/64"}})
	result := a.add(t)
	var got []string
	for _, r := range result.Routes {
		got = append(got, r.Dst.String())
	}
	if said := strings.Join(got, " "); !strings.Contains(said, "10.7.0.0/16") || !strings.Contains(said, "fd07::/64") {
		t.Errorf("routes of the result: %s", said)
	}
	a.after(result).succeed(t, "CHECK")
}

// TestNoCarrier: an interface without a cable costs ADD no wait for one, and is no reason for a warning.
func TestNoCarrier(t *testing.T) {
	a, lan := macvlanOn(t, testnet.NewNS(t, "c"))
	lan.machine.Sh(t, "ip", "link", "set", "port", "down")
	if got := a.run(t, "ADD"); got.code != 0 || got.stderr != "" {
		t.Errorf("exit status %d, standard error %q", got.code, got.stderr)
	}
	a.succeed(t, "DEL")
}

// TestMacvlanWithReadOnlyRun: a rootless runtime may not write to /run. DEL goes by the interface's name.
func TestMacvlanWithReadOnlyRun(t *testing.T) {
	a, _ := macvlanOn(t, testnet.NewNS(t, "c"))
	script := func(verb string) answer {
		t.Helper()
		cmd := a.command(verb, a.stdin(t))
		plugin := cmd.Args[len(cmd.Args)-1]
		cmd.Args = append(cmd.Args[:len(cmd.Args)-1:len(cmd.Args)-1], "unshare", "-m", "sh", "-ec",
			"mkdir -p /run/fairway && mount --bind /run/fairway /run/fairway && mount -o remount,bind,ro /run/fairway; exec "+plugin)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", verb, err, out)
		}
		return answer{stdout: string(out)}
	}
	script("ADD")
	script("DEL")
	if found := links(t, &testnet.Namespace{Path: a.env["CNI_NETNS"]}); len(found) != 1 {
		t.Errorf("left: %v", found)
	}
}
