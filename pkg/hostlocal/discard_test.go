package hostlocal

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiscard(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24"`)
	m := testMachine()
	for i := range 3 {
		mustAdd(t, m, c, owner(i))
	}
	for range 2 {
		if err := m.store(c).Discard(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{c.Network, filepath.Join(sideDir, c.Network)} {
			if _, err := os.Lstat(filepath.Join(c.DataDir, dir)); !os.IsNotExist(err) {
				t.Errorf("%s: got %v, want nothing there", dir, err)
			}
		}
	}
	mustAdd(t, m, c, owner(7)) // a network of the name begins anew
	if diff := cmp.Diff("10.1.0.2", files(t, c)["last_reserved_ip.0"]); diff != "" {
		t.Errorf("first address afterwards (-want +got):\n%s", diff)
	}
}

func TestDiscardKeepsWhatIsNotOurs(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24"`)
	m := testMachine()
	mustAdd(t, m, c, owner(1))
	write(t, c, "notes", "not ours")
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(c.DataDir, c.Network, "10.1.0.200")); err != nil {
		t.Fatal(err)
	}
	if err := m.store(c).Discard(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"notes": "not ours", "lock": ""}, files(t, c)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("where a link leads: %v", err)
	}
}
