package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestRepair: what others flush comes back without attaching again, in each mode and for each key, whichever version and
// options its network's file has.
func TestRepair(t *testing.T) {
	host := testnet.NewHost(t)
	outside := testnet.NewNS(t, "outside")
	host.Sh(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", outside.Path)
	for n, addr := range map[*testnet.Namespace]string{host: "192.0.2.11/24", outside: "192.0.2.1/24"} {
		n.Sh(t, "ip", "addr", "add", addr, "dev", "eth0")
		n.Sh(t, "ip", "link", "set", "eth0", "up")
	}
	host.Sh(t, "ip", "route", "add", "default", "via", "192.0.2.1")
	dir := t.TempDir()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	ipam := func(subnet string) string {
		return `"ipam": {"type": "host-local", "dataDir": "` + filepath.Join(dir, "ipam") + `", "ranges": [[{"subnet": "` + subnet + `"}]]}`
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := host.Command(filepath.Join(root, "bin", "fairway"), args...)
		cmd.Env = append(cmd.Environ(), "NETCONFPATH="+dir, "CNI_PATH="+filepath.Join(root, "bin"))
		return succeed(t, cmd)
	}
	containers := map[string]*testnet.Namespace{}
	for name, list := range map[string]string{
		"isolated": `{"cniVersion": "1.0.0", "name": "isolated", "plugins": [{"type": "bridge", "bridge": "br1", "isolated": true, "macspoofchk": true,
			"isDefaultGateway": true, "ipMasq": true, ` + ipam("10.1.0.0/24") + `}]}`,
		"internal": `{"cniVersion": "0.3.1", "name": "internal", "disableCheck": true, "plugins": [{"type": "bridge", "bridge": "br2", "internal": true,
			"icc": false, "isDefaultGateway": true, ` + ipam("10.2.0.0/24") + `}]}`,
		"plain": `{"cniVersion": "1.1.0", "name": "plain", "plugins": [{"type": "bridge", "bridge": "br3", "isDefaultGateway": true, "ipMasq": true, ` +
			ipam("10.3.0.0/24") + `}]}`,
		"overlay": `{"cniVersion": "1.1.0", "name": "overlay", "plugins": [{"type": "overlay-vxlan", "vni": 42, "subnet": "10.42.0.0/16", "ipMasq": true,
			"peers": [{"vtep": "192.0.2.11", "subnets": ["10.42.1.0/24"]}, {"vtep": "192.0.2.12", "subnets": ["10.42.2.0/24"]}],
			"ipam": {"type": "host-local", "dataDir": "` + filepath.Join(dir, "ipam") + `"}}]}`,
	} {
		writeFile(t, filepath.Join(dir, name+".conflist"), list)
		containers[name] = testnet.NewNS(t, name)
		run("connect", name, "netns:"+containers[name].Path)
	}
	want := lines(host.Sh(t, "nft", "list", "ruleset"))
	for _, loss := range []string{
		"nft flush ruleset", "nft delete table inet fairway", "nft flush table inet fairway", "nft delete table bridge fairway",
		"nft flush chain inet fairway forward", "nft flush map inet fairway masquerade_from4",
	} {
		host.Sh(t, "sh", "-c", loss)
		said := run("repair")
		if strings.Count(said, "\n") != len(containers) {
			t.Errorf("%s: repair says\n%s", loss, said)
		}
		if diff := cmp.Diff(want, lines(host.Sh(t, "nft", "list", "ruleset"))); diff != "" {
			t.Errorf("%s, then repair (-before +after):\n%s", loss, diff)
		}
		for name, reaches := range map[string]bool{"isolated": true, "internal": false, "plain": true, "overlay": true} {
			_, err := containers[name].Command("busybox", "ping", "-c", "1", "-W", "1", "192.0.2.1").CombinedOutput()
			if (err == nil) != reaches {
				t.Errorf("%s, then repair: %s reaches the outside: %v, want %t", loss, name, err, reaches)
			}
		}
	}
	host.Sh(t, "nft", "flush", "ruleset")
	run("repair", "plain")
	if got := host.Sh(t, "nft", "list", "set", "inet", "fairway", "bridges"); !strings.Contains(got, "br3") || strings.Contains(got, "br1") {
		t.Errorf("repair of one network:\n%s", got)
	}
	for name, c := range containers {
		run("disconnect", name, "netns:"+c.Path)
	}
}

// lines counts the lines of a listing, whose order is that of making.
func lines(listing string) map[string]int {
	count := make(map[string]int)
	for line := range strings.Lines(listing) {
		count[strings.TrimSpace(line)]++
	}
	return count
}
