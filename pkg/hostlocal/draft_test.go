package hostlocal

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Without O_TMPFILE a draft has a name. A crash may leave it as the second
// name of a reservation, which the next draft must not write to.
func TestPendingDraft(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24"`)
	m := testMachine()
	mustAdd(t, m, c, owner(1))
	s, err := m.enter(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	pend := func(content, name string) draft {
		d, err := s.openPending()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Write(d.fd, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if err := d.link(s.net, name); err != nil {
			t.Fatal(err)
		}
		return d
	}
	crashed := pend("c2\r\neth0", "10.1.0.77")
	_ = unix.Close(crashed.fd)
	pend("c3\r\neth0", "10.1.0.78").close()
	got := reservations(t, c)
	if got["10.1.0.77"] != "c2\r\neth0" || got["10.1.0.78"] != "c3\r\neth0" {
		t.Errorf("got %q", got)
	}
	if _, err := os.Stat(filepath.Join(c.DataDir, sideDir, "net", pendingName)); !isNotExist(err) {
		t.Errorf("the draft is still there: %v", err)
	}
}
