package kernel

import (
	"errors"
	"io/fs"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestSysctl: parameters of the host and of a container are read and written by an instance of procfs of our own, and by /proc where none
// can be had.
func TestSysctl(t *testing.T) {
	for name, by := range map[string]procfs{"own instance": {}, "/proc": {tried: true, root: -1}} {
		t.Run(name, func(t *testing.T) {
			host := testnet.NewHost(t)
			container := testnet.NewNS(t, "c")
			k, err := Open(container.Path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(k.Close)
			*k.Host.procfs = by
			for in, at := range map[*Namespace]*testnet.Namespace{k.Host: host, k.Container: container} {
				expectSysctls(t, in, at)
			}
			if own := k.Host.procfs.root >= 0; own != (name == "own instance" && mountable(t)) {
				t.Errorf("own instance: %t", own)
			}
		})
	}
}

func expectSysctls(t *testing.T, in *Namespace, at *testnet.Namespace) {
	t.Helper()
	const lo = "net/ipv4/conf/lo"
	shown := func(key string) string { return at.Sh(t, "cat", "/proc/sys/"+lo+"/"+key) }
	if err := errors.Join(in.SetSysctl(lo+"/arp_notify", "1"), in.SetSysctls(lo, []Assignment{{"arp_announce", "2"}, {"medium_id", "9"}})); err != nil {
		t.Error(err)
	}
	if got := shown("arp_notify") + shown("arp_announce") + shown("medium_id"); got != "129" {
		t.Errorf("%s in %s", got, at.Path)
	}
	is := func(want string) func(string) bool { return func(value string) bool { return value == want } }
	for _, want := range []bool{true, false} {
		if written, err := in.SettleSysctl(lo+"/medium_id", "12", is("12")); written != want || err != nil {
			t.Errorf("settled: %t, %v", written, err)
		}
	}
	if got, err := in.Sysctl(lo + "/medium_id"); got != "12" || err != nil {
		t.Errorf("read: %q, %v", got, err)
	}
	_, missing := in.Sysctl("net/ipv4/conf/none0/medium_id")
	for _, err := range []error{missing, in.SetSysctl("net/ipv4/conf/none0/medium_id", "1280")} {
		if !errors.Is(err, fs.ErrNotExist) || err.Error() != "open /proc/sys/net/ipv4/conf/none0/medium_id: no such file or directory" {
			t.Errorf("of a link that is not there: %v", err)
		}
	}
	if err := in.SetSysctls("net/ipv4/conf/none0", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a link that is not there: %v", err)
	}
}

// mountable says whether the tests may mount procfs, which those in a user namespace may not everywhere.
func mountable(t *testing.T) bool {
	t.Helper()
	dir := t.TempDir()
	if unix.Mount("proc", dir, "proc", 0, "") != nil {
		return false
	}
	if err := unix.Unmount(dir, 0); err != nil {
		t.Error(err)
	}
	return true
}
