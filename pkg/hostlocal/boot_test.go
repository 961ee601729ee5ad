package hostlocal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// age makes a file older than the start of a restarted machine.
func age(t testing.TB, c Config, name string) {
	t.Helper()
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(c.DataDir, c.Network, name), old, old); err != nil {
		t.Fatal(err)
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
