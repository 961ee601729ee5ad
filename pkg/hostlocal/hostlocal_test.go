package hostlocal

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// testConfig parses a network "net" with the given ipam keys on a directory of its own.
func testConfig(t testing.TB, dir, keys string) Config {
	t.Helper()
	c, err := Parse(fmt.Appendf(nil, `{"cniVersion": "1.1.0", "name": "net", "ipam": {"dataDir": %q, %s}}`, dir, keys), "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A machine is a host with an invented boot, so that tests can start it anew.
type machine struct {
	boot
	gone     Gone
	sys      system
	patience time.Duration
}

func testMachine() machine {
	return machine{boot: boot{machine: "machine-1", id: "boot-1"}, gone: fileGone, sys: linux{}, patience: time.Minute}
}

// restarted is the machine after a start just now.
func (m machine) restarted() machine {
	m.id += "'"
	return m
}

func (m machine) store(c Config) *Store {
	return &Store{Config: c, Gone: m.gone, boot: m.boot, sys: m.sys, patience: m.patience}
}

func (m machine) add(ctx context.Context, c Config, o Owner, netns string) (Lease, error) {
	return m.store(c).Add(ctx, o, netnsAt(netns))
}

func (m machine) check(ctx context.Context, c Config, o Owner, addrs ...netip.Addr) error {
	return m.store(c).Check(ctx, o, addrs)
}

func (m machine) release(ctx context.Context, c Config, o Owner) error {
	return m.store(c).Release(ctx, o)
}

func (m machine) enter(ctx context.Context, c Config) (*session, error) { return m.store(c).enter(ctx) }

func owner(n int) Owner {
	return Owner{ContainerID: fmt.Sprintf("c%d", n), IfName: "eth0"}
}

func mustAdd(t testing.TB, m machine, c Config, o Owner) Lease {
	t.Helper()
	l, err := m.add(t.Context(), c, o, "")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func addresses(l Lease) []string {
	var all []string
	for _, a := range l.Addresses {
		all = append(all, a.Prefix.String())
	}
	return all
}

// files returns name → content of a network's directory.
func files(t testing.TB, c Config) map[string]string {
	t.Helper()
	dir := filepath.Join(c.DataDir, c.Network)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(content)
	}
	return all
}

func reservations(t testing.TB, c Config) map[string]string {
	t.Helper()
	all := files(t, c)
	for name := range all {
		if _, err := netip.ParseAddr(name); err != nil {
			delete(all, name)
		}
	}
	return all
}

func TestLifeOfALease(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]], "routes": [{"dst": "0.0.0.0/0"}]`)
	m := testMachine()
	l := mustAdd(t, m, c, owner(1))
	want := Lease{
		Addresses: []Address{
			{Prefix: netip.MustParsePrefix("10.1.0.2/24"), Gateway: netip.MustParseAddr("10.1.0.1")},
			{Prefix: netip.MustParsePrefix("fd00::2/64"), Gateway: netip.MustParseAddr("fd00::1")},
		},
		Routes: []Route{{Dst: netip.MustParsePrefix("0.0.0.0/0")}},
		Fresh:  []netip.Addr{addr("10.1.0.2"), addr("fd00::2")},
		First:  true,
	}
	if diff := cmp.Diff(want, l, byString, cmpopts.IgnoreUnexported(Lease{})); diff != "" {
		t.Errorf("lease (-want +got):\n%s", diff)
	}
	wantFiles := map[string]string{
		"10.1.0.2": "c1\r\neth0", "fd00::2": "c1\r\neth0", "lock": "",
		"last_reserved_ip.0": "10.1.0.2", "last_reserved_ip.1": "fd00::2",
	}
	if diff := cmp.Diff(wantFiles, files(t, c)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if err := m.check(t.Context(), c, owner(1)); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := m.release(t.Context(), c, owner(1)); err != nil {
			t.Error(err)
		}
	}
	if left := reservations(t, c); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if got := addresses(mustAdd(t, m, c, owner(1))); got[0] != "10.1.0.3/24" {
		t.Errorf("round robin gave %s, want 10.1.0.3/24", got[0])
	}
}

// byString compares the opaque types of net/netip.
var byString = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// logged collects what is logged from now on.
func logged(t testing.TB) *bytes.Buffer {
	t.Helper()
	before, text := slog.Default(), &bytes.Buffer{}
	slog.SetDefault(slog.New(slog.NewTextHandler(text, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return text
}
