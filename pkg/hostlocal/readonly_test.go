package hostlocal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// readOnly runs in a mount namespace of its own: root writes wherever modes
// forbid it, but not to a read-only mount.
func readOnly(c Config) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount(c.DataDir, c.DataDir, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if err := unix.Mount("", c.DataDir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return err
	}
	ctx := context.Background()
	store := NewStore(c)
	_, addErr := store.Add(ctx, owner(2), Netns{})
	for verb, err := range map[string]error{
		"add": addErr, "release": store.Release(ctx, owner(1)), "gc": store.GC(ctx, nil), "status": store.Status(ctx),
	} {
		if !errors.Is(err, unix.EROFS) {
			return fmt.Errorf("%s: got %v, want a read-only file system", verb, err)
		}
	}
	return store.Check(ctx, owner(1), nil)
}

func TestReadOnlyDataDir(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24"`)
	mustAdd(t, testMachine(), c, owner(1))
	cmd := childCommand(t, "readonly", c)
	cmd.SysProcAttr = ownMounts()
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, output)
	}
}

func TestUnusableDataDir(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := t.TempDir()
	if err := os.Symlink(t.TempDir(), filepath.Join(link, "net")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(link, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"a file": file, "below a file": filepath.Join(file, "x"), "a link that anybody can have made": link} {
		t.Run(name, func(t *testing.T) {
			c := testConfig(t, dir, `"subnet": "10.1.0.0/24"`)
			store := NewStore(c)
			_, err := store.Add(t.Context(), owner(1), Netns{})
			for verb, err := range map[string]error{
				"add": err, "release": store.Release(t.Context(), owner(1)), "check": store.Check(t.Context(), owner(1), nil),
				"gc": store.GC(t.Context(), nil), "status": store.Status(t.Context()),
			} {
				if !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) {
					t.Errorf("%s: %v", verb, err)
				}
			}
		})
	}
}

// Upstream follows a link in place of a network's directory.
func TestLinkedNetwork(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24"`)
	elsewhere := t.TempDir()
	if err := os.Symlink(elsewhere, filepath.Join(c.DataDir, "net")); err != nil {
		t.Fatal(err)
	}
	m := testMachine()
	mustAdd(t, m, c, owner(1))
	if _, err := os.Stat(filepath.Join(elsewhere, "10.1.0.2")); err != nil {
		t.Error(err)
	}
	for verb, err := range map[string]error{
		"status": m.store(c).Status(t.Context()), "check": m.check(t.Context(), c, owner(1), addr("10.1.0.2")),
		"release": m.release(t.Context(), c, owner(1)), "discard": m.store(c).Discard(t.Context()),
	} {
		if err != nil {
			t.Errorf("%s: %v", verb, err)
		}
	}
	if left := reservations(t, c); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestFilesAreForTheirOwner(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24"`)
	mustAdd(t, testMachine(), c, owner(1))
	err := filepath.WalkDir(c.DataDir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
