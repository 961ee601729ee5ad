package testnet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Hide puts an empty directory in the place of dir, in the mount namespace that Isolate has made. A directory that the
// machine does not have is not made there, but on an overlay of its nearest parent.
func Hide(dir string) error {
	parent, err := nearest(dir)
	if err != nil {
		return err
	}
	hidden, err := scratched(parent)
	if err != nil {
		return err
	}
	if parent != dir && !hidden {
		scratch, err := os.MkdirTemp(scratchParent, scratchPrefix)
		if err != nil {
			return err
		}
		if err := overlay(parent, scratch); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount -t tmpfs tmpfs %s: %w", dir, err)
	}
	return nil
}

// Where the overlays of Hide write to.
const scratchParent, scratchPrefix = "/run", "overlay"

// scratched says whether an overlay of Hide is on dir already. The kernel stacks two overlays and no third: hosts have one.
func scratched(dir string) (bool, error) {
	mounts, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return false, err
	}
	const mountPoint = 4 // proc_pid_mountinfo(5), counted from 0
	found := false
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > mountPoint && fields[mountPoint] == dir {
			found = strings.Contains(line, ",upperdir="+filepath.Join(scratchParent, scratchPrefix)) // the last is on top
		}
	}
	return found, nil
}

// nearest is dir itself or the first parent that exists.
func nearest(dir string) (string, error) {
	for ; ; dir = filepath.Dir(dir) {
		_, err := os.Stat(dir)
		if !errors.Is(err, os.ErrNotExist) {
			return dir, err
		}
	}
}

// overlay makes writes to dir go to a scratch directory.
func overlay(dir, scratch string) error {
	upper, work := filepath.Join(scratch, "upper"), filepath.Join(scratch, "work")
	if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755)); err != nil {
		return err
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir, upper, work)
	if err := unix.Mount("overlay", dir, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount -t overlay -o %s overlay %s: %w", options, dir, err)
	}
	return nil
}
