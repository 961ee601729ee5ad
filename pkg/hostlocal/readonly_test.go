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
	_, addErr := Add(ctx, c, owner(2), "")
	for verb, err := range map[string]error{
		"add": addErr, "release": Release(ctx, c, owner(1)), "gc": GC(ctx, c, nil), "status": Status(ctx, c),
	} {
		if !errors.Is(err, unix.EROFS) {
			return fmt.Errorf("%s: got %v, want a read-only file system", verb, err)
		}
	}
	return Check(ctx, c, owner(1))
}

func TestReadOnlyDataDir(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24"`)
	mustAdd(t, thisMachine(), c, owner(1))
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
	for name, dir := range map[string]string{"a file": file, "below a file": filepath.Join(file, "x"), "a link as network": link} {
		t.Run(name, func(t *testing.T) {
			c := testConfig(t, dir, `"subnet": "10.1.0.0/24"`)
			_, err := Add(t.Context(), c, owner(1), "")
			for verb, err := range map[string]error{
				"add": err, "release": Release(t.Context(), c, owner(1)), "check": Check(t.Context(), c, owner(1)),
				"gc": GC(t.Context(), c, nil), "status": Status(t.Context(), c),
			} {
				if !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) {
					t.Errorf("%s: %v", verb, err)
				}
			}
		})
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
