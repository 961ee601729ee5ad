package hostlocal

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// poor is a file system that lacks what a draft would rather have.
type poor struct {
	system
	noDrafts, noLinks, noExchange bool
}

func (p poor) openat(dir int, name string, flags int, mode uint32) (int, error) {
	if p.noDrafts && flags&unix.O_TMPFILE == unix.O_TMPFILE {
		return -1, unix.EOPNOTSUPP
	}
	return p.system.openat(dir, name, flags, mode)
}

func (p poor) linkat(from int, path string, dir int, name string, flags int) error {
	if p.noLinks {
		return unix.EPERM
	}
	return p.system.linkat(from, path, dir, name, flags)
}

func (p poor) renameat(from int, path string, dir int, name string, flags uint) error {
	if p.noExchange && flags != 0 {
		return unix.EINVAL
	}
	return p.system.renameat(from, path, dir, name, flags)
}

func TestPoorFileSystems(t *testing.T) {
	for name, p := range map[string]poor{
		"no unnamed files":       {noDrafts: true},
		"no hard links":          {noLinks: true},
		"neither":                {noDrafts: true, noLinks: true},
		"and no careful renames": {noDrafts: true, noLinks: true, noExchange: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/29"`)
			m := testMachine()
			p.system = m.sys
			m.sys = p
			write(t, c, draftName, "left by a crash")
			write(t, c, "10.1.0.3", "c9\r\neth0")
			mustAdd(t, m, c, owner(1))
			mustAdd(t, m, c, owner(2))
			want := map[string]string{"10.1.0.2": "c1\r\neth0", "10.1.0.3": "c9\r\neth0", "10.1.0.4": "c2\r\neth0"}
			if diff := cmp.Diff(want, reservations(t, c)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if rebuilds(t, m, c) {
				t.Error("the index is not in step")
			}
			if _, err := os.Lstat(filepath.Join(c.DataDir, "net", draftName)); !isNotExist(err) {
				t.Errorf("the draft is still there: %v", err)
			}
			for i := range 2 {
				if err := m.release(t.Context(), c, owner(1+i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
