package hostlocal

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// age makes a file older than the start of a restarted machine.
func age(t testing.TB, c Config, name string) {
	t.Helper()
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(c.DataDir, c.Network, name), old, old); err != nil {
		t.Fatal(err)
	}
}

// coverBootID runs where a file is mounted over the kernel's boot ID.
func coverBootID(c Config) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	file := filepath.Join(filepath.Dir(c.DataDir), "id")
	if err := os.WriteFile(file, []byte("5f3c0a64-6d2e-4d5c-9a3b-0d6f1e2a7b90\n"), 0o600); err != nil {
		return err
	}
	if err := unix.Mount(file, "/proc/sys/kernel/random/boot_id", "", unix.MS_BIND, ""); err != nil {
		return err
	}
	ctx := context.Background()
	store := NewStore(c)
	_, err := store.Add(ctx, owner(2), Netns{})
	return errors.Join(err, store.GC(ctx, []Owner{owner(1), owner(2)}), store.Status(ctx))
}

// TestCoveredBootID: a container that shares the directory and has a boot ID of its own takes no address of the host's for an earlier
// boot's, nor the host any of its.
func TestCoveredBootID(t *testing.T) {
	c := testConfig(t, filepath.Join(t.TempDir(), "data"), `"subnet": "10.1.0.0/24"`)
	host := NewStore(c)
	if _, err := host.Add(t.Context(), owner(1), Netns{}); err != nil {
		t.Fatal(err)
	}
	cmd := childCommand(t, "coverid", c)
	cmd.SysProcAttr = ownMounts()
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if _, err := host.Add(t.Context(), owner(3), Netns{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"10.1.0.2", "10.1.0.3", "10.1.0.4"}, slices.Sorted(maps.Keys(reservations(t, c)))); diff != "" {
		t.Errorf("reserved (-want +got):\n%s", diff)
	}
}

func TestRestartVoidsReservations(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24"`)
	m := testMachine()
	addIn(t, m, c, owner(1), namespace(t))
	mustAdd(t, m, c, owner(2))
	age(t, c, "10.1.0.3")
	write(t, c, "10.1.0.50", "old\r\neth0") // upstream, before the start
	if err := m.check(t.Context(), c, owner(1)); err != nil {
		t.Fatal(err)
	}
	write(t, c, "10.1.0.51", "new\r\neth0") // upstream, faster than we after the start
	age(t, c, "10.1.0.51")                  // by a clock that was not set
	write(t, c, "10.1.0.52", "")            // by hand
	write(t, c, "10.1.0.53", "reserved")    // by hand

	m = m.restarted()
	if got := addresses(mustAdd(t, m, c, owner(3))); got[0] != "10.1.0.4/24" {
		t.Errorf("got %v: the round robin does not go on", got)
	}
	mustAdd(t, m, c, owner(4))
	want := map[string]string{"10.1.0.4": "c3\r\neth0", "10.1.0.5": "c4\r\neth0", "10.1.0.51": "new\r\neth0", "10.1.0.52": "", "10.1.0.53": "reserved"}
	if diff := cmp.Diff(want, reservations(t, c)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRestartAndCheck(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24"`)
	m := testMachine()
	addIn(t, m, c, owner(1), namespace(t))
	m = m.restarted()
	if err := m.check(t.Context(), c, owner(1)); !errors.Is(err, ErrNotReserved) {
		t.Errorf("got %v", err)
	}
	if err := m.release(t.Context(), c, owner(1)); err != nil {
		t.Error(err)
	}
}

// A kubelet asks STATUS before the first ADD: a range that the last boot filled
// must not be reported as full.
func TestRestartAndStatus(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/30"`)
	m := testMachine()
	mustAdd(t, m, c, owner(1))
	age(t, c, "10.1.0.2")
	warnings := logged(t)
	if err := m.store(c).Status(t.Context()); err != nil || !strings.Contains(warnings.String(), "has no free address") {
		t.Errorf("before: %v, %s", err, warnings)
	}
	warnings.Reset()
	m = m.restarted()
	if err := m.store(c).Status(t.Context()); err != nil || warnings.Len() > 0 {
		t.Errorf("after: %v, %s", err, warnings)
	}
	if got := len(reservations(t, c)); got != 1 {
		t.Errorf("STATUS changed the directory: %d reservations", got)
	}
}

// A directory without a mark is upstream's, and stays as it is.
func TestAdoption(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24"`)
	write(t, c, "10.1.0.9", "c9\r\neth0")
	write(t, c, "last_reserved_ip.0", "10.1.0.9")
	age(t, c, "10.1.0.9")
	m := testMachine().restarted()
	if got := addresses(mustAdd(t, m, c, owner(9))); got[0] != "10.1.0.9/24" {
		t.Errorf("got %v", got)
	}
	if got := addresses(mustAdd(t, m, c, owner(1))); got[0] != "10.1.0.10/24" {
		t.Errorf("got %v", got)
	}
}
