package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A feature is tried only where that loads nothing.
func TestLoadable(t *testing.T) {
	root := t.TempDir()
	if loadable, known := installedModules(root).loadable([]string{"vxlan"}); loadable || !known {
		t.Errorf("a kernel that loads no modules: loadable %t, known %t", loadable, known)
	}
	write := func(path, content string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("proc/modules", "nf_nat 61440 2 - Live 0x0000000000000000\nveth 45056 0 - Live 0x0000000000000000\n")
	if loadable, known := installedModules(root).loadable([]string{"vxlan"}); loadable || known {
		t.Errorf("no list of modules: loadable %t, known %t", loadable, known)
	}
	write("lib/modules/"+release()+"/modules.builtin", "kernel/net/bridge/bridge.ko\n")
	write("lib/modules/"+release()+"/modules.dep",
		"kernel/drivers/net/vxlan/vxlan.ko.xz: kernel/net/ipv4/udp_tunnel.ko.xz\nkernel/net/netfilter/nf-nat.ko:\nkernel/drivers/net/veth.ko.zst:\n")
	m := installedModules(root)
	for _, test := range []struct {
		modules []string
		want    bool
	}{
		{[]string{"vxlan"}, true}, {[]string{"bridge"}, false}, {[]string{"veth", "nf_nat"}, false},
		{[]string{"veth", "vxlan"}, true}, {[]string{"8021q"}, false},
	} {
		if loadable, known := m.loadable(test.modules); loadable != test.want || !known {
			t.Errorf("%v: loadable %t, known %t; want %t", test.modules, loadable, known, test.want)
		}
	}
}

// What is tried is gone afterwards, and what the kernel lacks is an error.
func TestFreshNamespace(t *testing.T) {
	for _, f := range features() {
		err := inFreshNamespace(f.try)
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EPROTONOSUPPORT) {
			t.Errorf("%s: %v", f.name, err)
		}
	}
	if _, err := netlink.LinkByName("try0"); err == nil {
		t.Error("try0 was made on the host")
	}
	if err := inFreshNamespace(tryLink(&netlink.GenericLink{LinkType: "nothing-like-it"})); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("a kind of link that does not exist: %v", err)
	}
}

func TestOlder(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"v1.2.3", "v1.2.3", false}, {"v1.2.3", "v1.10.0", true}, {"v1.2.3", "v1.2.3-4-gabcdef0", true},
		{"v1.2.3-10-gabcdef0", "v1.2.3-9-gabcdef0-dirty", false}, {"devel", "v1.2.3", false}, {"v1.2.3", "devel", false},
		{"1.2.3", "2.0.0", true}, {"abcdef0", "v9.9.9", false},
	} {
		if got := older(test.a, test.b); got != test.want {
			t.Errorf("older(%q, %q) = %t", test.a, test.b, got)
		}
	}
}
