package hostlocal

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// write puts a file into the network's directory, as another program would.
func write(t testing.TB, c Config, name, content string) {
	t.Helper()
	dir := filepath.Join(c.DataDir, c.Network)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestGC(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24"`)
	m := testMachine()
	for i := range 4 {
		mustAdd(t, m, c, owner(i))
	}
	write(t, c, "10.1.0.100", "c2")       // legacy, valid
	write(t, c, "10.1.0.101", "reserved") // by hand
	write(t, c, "10.1.0.102", "")         // by hand
	write(t, c, "10.1.0.103", "c2\r\neth9")
	write(t, c, "notes", "not ours")
	if err := m.store(c).GC(t.Context(), []Owner{owner(2), owner(3), owner(77)}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"10.1.0.4": "c2\r\neth0", "10.1.0.5": "c3\r\neth0", "10.1.0.100": "c2", "10.1.0.101": "reserved", "10.1.0.102": "",
		"notes": "not ours", "lock": "", "last_reserved_ip.0": "10.1.0.5",
	}
	if diff := cmp.Diff(want, files(t, c)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := m.store(c).GC(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if left := reservations(t, c); len(left) != 3 {
		t.Errorf("left behind: %v", left)
	}
}

func TestLegacyReservation(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24"`)
	m := testMachine()
	write(t, c, "10.1.0.50", "c1\n")
	if err := m.check(t.Context(), c, owner(1)); err != nil {
		t.Errorf("check: %v", err)
	}
	_, err := m.add(t.Context(), c, owner(1), "")
	want := "10.1.0.50 was reserved for container c1, without its interface, by an old host-local: run DEL for the container first"
	if !errors.Is(err, ErrReserved) || err.Error() != want {
		t.Errorf("got  %v\nwant %v", err, want)
	}
	if err := m.release(t.Context(), c, owner(1)); err != nil {
		t.Error(err)
	}
	if left := reservations(t, c); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
