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

// fullDisk runs in a mount namespace of its own, on a small tmpfs.
func fullDisk(c Config) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", c.DataDir, "tmpfs", 0, "size=256k"); err != nil {
		return err
	}
	ctx, m := context.Background(), testMachine()
	for i := range 3 {
		if _, err := m.add(ctx, c, owner(i), ""); err != nil {
			return err
		}
	}
	if err := fillUp(filepath.Join(c.DataDir, "ballast")); err != nil {
		return err
	}
	if _, err := m.add(ctx, c, owner(3), ""); !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("add on a full disk: %v", err)
	}
	if err := m.check(ctx, c, owner(3)); !errors.Is(err, ErrNotReserved) {
		return fmt.Errorf("check after the failed add: %v", err)
	}
	return releaseFull(ctx, m, c)
}

// releaseFull: DEL makes room again, even where the index cannot be rebuilt.
func releaseFull(ctx context.Context, m machine, c Config) error {
	if err := m.release(ctx, c, owner(0)); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(c.DataDir, sideDir)); err != nil {
		return err
	}
	if err := fillUp(filepath.Join(c.DataDir, "ballast2")); err != nil {
		return err
	}
	for i := range 3 {
		if err := m.release(ctx, c, owner(i)); err != nil {
			return err
		}
		if err := m.check(ctx, c, owner(i)); !errors.Is(err, ErrNotReserved) {
			return fmt.Errorf("check after the release: %v", err)
		}
	}
	return nil
}

// fillUp writes until nothing more fits.
func fillUp(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		return err
	}
	return f.Close()
}

func TestFullDisk(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24"`)
	cmd := childCommand(t, "fulldisk", c)
	cmd.SysProcAttr = ownMounts()
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, output)
	}
}
