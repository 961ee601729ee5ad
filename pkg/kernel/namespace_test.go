package kernel_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestOpen(t *testing.T) {
	host := testnet.NewHost(t)
	container := testnet.NewNS(t, "c")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, path string
		want       error
	}{
		{"none", "", nil},
		{"a container", container.Path, nil},
		{"of a thread", host.Path, nil},
		{"missing", filepath.Join(filepath.Dir(file), "missing"), kernel.ErrNoNamespace},
		{"below a file", filepath.Join(file, "ns"), kernel.ErrNoNamespace},
		{"too long", "/run/netns/" + strings.Repeat("n", 300), kernel.ErrNoNamespace},
		{"a file", file, kernel.ErrNotNamespace},
		{"a directory", filepath.Dir(file), kernel.ErrNotNamespace},
		{"another kind", "/proc/self/ns/mnt", kernel.ErrNotNamespace},
		{"other files of proc", "/proc/self/cmdline", kernel.ErrNotNamespace},
	} {
		t.Run(test.name, func(t *testing.T) {
			k, err := kernel.Open(test.path)
			if !errors.Is(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			if err == nil {
				defer k.Close()
				if (k.Container != nil) != (test.path != "") {
					t.Errorf("container %v", k.Container)
				}
			}
		})
	}
}

// Handles that are closed leave no descriptor behind: a node agent opens many.
func TestClose(t *testing.T) {
	testnet.NewHost(t)
	container := testnet.NewNS(t, "c")
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	use := func() {
		k, err := kernel.Open(container.Path)
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		if _, err := k.Elements(marks()); !errors.Is(err, unix.ENOENT) {
			t.Error(err)
		}
		if err := k.AddElements([]kernel.Element{mark(1, "")}); !errors.Is(err, unix.ENOENT) {
			t.Error(err)
		}
		if _, err := k.Nftables(); err != nil {
			t.Error(err)
		}
	}
	use()
	before := descriptors()
	for range 20 {
		use()
	}
	if after := descriptors(); after > before {
		t.Errorf("%d descriptors, before %d", after, before)
	}
}

func TestIsHost(t *testing.T) {
	host := testnet.NewHost(t)
	for path, want := range map[string]bool{
		host.Path: true, "/proc/thread-self/ns/net": true, testnet.NewNS(t, "c").Path: false, "/proc/self/ns/mnt": false, "": false,
	} {
		if got := kernel.IsHost(path); got != want {
			t.Errorf("%q: %t, want %t", path, got, want)
		}
	}
}

func TestNamespaceSysctl(t *testing.T) {
	testnet.NewHost(t)
	container := testnet.NewNS(t, "c")
	k := open(t, container.Path)
	const key = "net/ipv4/ip_forward"
	if err := k.Container.SetSysctl(key, "1"); err != nil {
		t.Fatal(err)
	}
	for _, place := range []struct {
		n    *kernel.Namespace
		want string
	}{{k.Container, "1"}, {k.Host, "0"}} {
		if got, err := place.n.Sysctl(key); got != place.want || err != nil {
			t.Errorf("%q, error %v, want %q", got, err, place.want)
		}
	}
	if _, err := k.Container.Sysctl("net/ipv4/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if k.Host.Fd() != -1 || k.Container.Fd() < 0 {
		t.Errorf("descriptors %d and %d", k.Host.Fd(), k.Container.Fd())
	}
}

func TestPathMTU(t *testing.T) {
	for _, test := range []struct {
		name     string
		commands [][]string
		want     int
	}{
		{"no way out", nil, 0},
		{"IPv4", [][]string{{"addr", "add", "192.0.2.1/24", "dev", "up0"}, {"route", "add", "default", "via", "192.0.2.2"}}, 1380},
		{"IPv6", [][]string{{"addr", "add", "fd99::1/64", "dev", "up0", "nodad"}, {"route", "add", "default", "via", "fd99::2"}}, 1380},
		{"loopback", [][]string{{"route", "add", "local", "default", "dev", "lo"}}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			testnet.NewHost(t)
			testnet.Sh(t, "ip", "link", "add", "up0", "mtu", "1380", "type", "veth", "peer", "name", "x0")
			testnet.Sh(t, "ip", "link", "set", "up0", "up")
			testnet.Sh(t, "ip", "link", "set", "x0", "up")
			for _, args := range test.commands {
				testnet.Sh(t, "ip", args...)
			}
			if got := open(t, "").PathMTU(); got != test.want {
				t.Errorf("MTU %d, want %d", got, test.want)
			}
		})
	}
}

func TestAddVeth(t *testing.T) {
	testnet.NewHost(t)
	container := testnet.NewNS(t, "c")
	k := open(t, container.Path)
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	pair := kernel.VethPair{HostName: "v0", HostGroup: 7, In: k.Container, ContainerName: "eth0", ContainerMAC: mac, MTU: 1400}
	if err := k.AddVeth(pair); err != nil {
		t.Fatal(err)
	}
	if err := k.AddVeth(pair); !errors.Is(err, unix.EEXIST) {
		t.Errorf("again: %v, want EEXIST", err)
	}
	testnet.Sh(t, "ip", "link", "add", "br0", "up", "type", "bridge")
	bridge, err := k.Host.Link("br0")
	if err != nil {
		t.Fatal(err)
	}
	if err := k.RaisePort("v0", bridge.Attrs().Index, "whose"); err != nil {
		t.Fatal(err)
	}
	inside, err := k.Container.Link("eth0")
	if err != nil {
		t.Fatal(err)
	}
	outside, err := k.Host.Link("v0")
	if err != nil {
		t.Fatal(err)
	}
	if a := inside.Attrs(); a.MTU != 1400 || a.HardwareAddr.String() != mac.String() || a.Flags&net.FlagUp == 0 || a.NumTxQueues != 1 {
		t.Errorf("in the container: %+v", a)
	}
	if a := outside.Attrs(); a.MTU != 1400 || a.Group != 7 || a.Alias != "whose" || a.MasterIndex != bridge.Attrs().Index || a.Flags&net.FlagUp == 0 {
		t.Errorf("on the host: %+v", a)
	}
	if err := k.RaisePort("missing", 0, ""); !errors.Is(err, unix.ENODEV) {
		t.Errorf("a port that is not there: %v, want ENODEV", err)
	}
}

// A name means the namespace that it is asked for in, whatever the other one has: the host's uplink is often called eth0,
// which is what runtimes call a container's interface.
func TestAddVethBesideOthersNames(t *testing.T) {
	for _, test := range []struct {
		name, host, container string
		want                  error
	}{
		{"the host has the container's name", "eth0", "", nil},
		{"the container has the host's name", "", "v0", nil},
		{"the host has the host's name", "v0", "", unix.EEXIST},
		{"the container has the container's name", "", "eth0", unix.EEXIST},
		{"each has the other's", "eth0", "v0", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			testnet.NewHost(t)
			container := testnet.NewNS(t, "c")
			if test.host != "" {
				testnet.Sh(t, "ip", "link", "add", test.host, "type", "bridge")
			}
			if test.container != "" {
				container.Sh(t, "ip", "link", "add", test.container, "type", "bridge")
			}
			k := open(t, container.Path)
			err := k.AddVeth(kernel.VethPair{HostName: "v0", In: k.Container, ContainerName: "eth0"})
			if !errors.Is(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			if err != nil {
				return
			}
			for n, name := range map[*kernel.Namespace]string{k.Host: "v0", k.Container: "eth0"} {
				if link, err := n.Link(name); err != nil || link.Type() != "veth" {
					t.Errorf("%s: %v, %v", name, link, err)
				}
			}
		})
	}
}
