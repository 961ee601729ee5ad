package plugins

import (
	"os/exec"
	"strings"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// TestBridgeHasTheConfiguredName, as `nerdctl network rm` deletes that link.
func TestBridgeHasTheConfiguredName(t *testing.T) {
	const name = "br-2d4f6a8c0e1f" // as long as a name can be
	a := bridgeOn(t, testnet.NewNS(t, "c")).with("bridge", name)
	a = a.after(a.add(t))
	a.host.Sh(t, "ip", "link", "del", name)
	a.succeed(t, "DEL")
}

// TestNerdctlArgs are what nerdctl gives with each call, also empty ones; the capability ips asks for an address.
func TestNerdctlArgs(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c")).with("cniVersion", "1.0.0").
		with("runtimeConfig", map[string]any{"ips": []string{"10.1.0.77"}, "portMappings": []any{}}).
		withEnv("CNI_ARGS", "IgnoreUnknown=1;IP=;MAC=02:42:0a:01:00:4d;NERDCTL_CNI_DHCP_HOSTNAME=web")
	result := a.add(t)
	want := &types100.IPConfig{Interface: types100.Int(2), Address: ipOf(t, "10.1.0.77/24", "").Address, Gateway: ipOf(t, "10.1.0.77/24", "10.1.0.1").Gateway}
	if diff := cmp.Diff([]*types100.IPConfig{want}, result.IPs); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	wantText(t, "MAC", "02:42:0a:01:00:4d", interfaceOf(t, result, "eth0").Mac)
	a = a.after(result)
	a.succeed(t, "CHECK")
	a.withEnv("CNI_NETNS", "").succeed(t, "DEL")
	a.wantGone(t)
}

// TestParallelAdds: nerdctl attaches a container to its networks at the same time.
func TestParallelAdds(t *testing.T) {
	container := testnet.NewNS(t, "c")
	base := bridgeOn(t, container)
	var all []attachment
	var running []*exec.Cmd
	for _, n := range []string{"1", "2", "3", "4", "5", "6"} {
		a := base.with("name", "net"+n).with("bridge", "br"+n).on(container, "eth"+n).
			withIPAM("ranges", [][]map[string]string{{{"subnet": "10." + n + ".0.0/24"}}})
		cmd := a.command("ADD", a.stdin(t))
		cmd.Stdout = &strings.Builder{}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all, running = append(all, a), append(running, cmd)
	}
	for i, cmd := range running {
		stdout := cmd.Stdout.(*strings.Builder)
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v\n%s", err, stdout)
		}
		result := &types100.Result{}
		decodeOne(t, stdout.String(), result)
		all[i] = all[i].after(result)
	}
	if routes := routesOf(t, container, "default"); len(routes) != len(all) {
		t.Errorf("default routes: got %+v, want %d", routes, len(all))
	}
	for _, a := range all {
		a.succeed(t, "CHECK")
		a.succeed(t, "DEL")
	}
	if diff := cmp.Diff([]string{"lo"}, links(t, container)); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	if owners := base.elements(t); len(owners) > 0 {
		t.Errorf("elements after DEL: %v", owners)
	}
}
