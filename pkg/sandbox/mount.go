package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// prepare makes the mount and UTS namespaces of the init process the command's.
func (o initOrder) prepare() error {
	// What the host mounts later appears here too, and nothing of ours there.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("mount --make-rslave /: %w", err)
	}
	if o.Hostname != "" {
		if err := unix.Sethostname([]byte(o.Hostname)); err != nil {
			return fmt.Errorf("hostname %s: %w", o.Hostname, err)
		}
	}
	if o.Domainname != "" {
		if err := unix.Setdomainname([]byte(o.Domainname)); err != nil {
			return fmt.Errorf("domainname %s: %w", o.Domainname, err)
		}
	}
	if err := bindFiles(o.Files); err != nil {
		return err
	}
	if err := mountProc(); err != nil {
		return err
	}
	if o.HostNetwork {
		return nil
	}
	return mountSys()
}

// bindFiles binds texts over files, where those exist. The texts lie in a file system of their own, which is mounted only
// while they are written; the bound files keep it.
func bindFiles(files map[string]string) error {
	if len(files) == 0 {
		return nil
	}
	const scratch = "/proc" // is there, and gets another mount anyway
	if err := unix.Mount("tmpfs", scratch, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=1m,mode=0755"); err != nil {
		return fmt.Errorf("mount -t tmpfs tmpfs %s: %w", scratch, err)
	}
	for path, text := range files {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			continue // and would not be there after the sandbox
		}
		source := filepath.Join(scratch, filepath.Base(path))
		if err := os.WriteFile(source, []byte(text), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(source, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount --bind %s %s: %w", source, path, err)
		}
	}
	if err := unix.Unmount(scratch, 0); err != nil {
		return fmt.Errorf("umount %s: %w", scratch, err)
	}
	return nil
}

// mountProc shows the processes of the sandbox, by their numbers there.
func mountProc() error {
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount -t proc proc /proc: %w", err)
	}
	return nil
}

// mountSys shows the links of the sandbox in /sys/class/net: a sysfs shows those of the namespace that mounted it. The
// control groups below /sys/fs stay. Where the kernel cannot do this (before Linux 5.2), or a container around us may not,
// /sys shows the host's links, and everything else works.
func mountSys() error {
	groups, err := unix.OpenTree(unix.AT_FDCWD, "/sys/fs", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return nil
	}
	defer unix.Close(groups) //nolint:errcheck // it was only used as a place
	if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return nil
	}
	if err := unix.MoveMount(groups, "", unix.AT_FDCWD, "/sys/fs", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount --move /sys/fs: %w", err)
	}
	return nil
}
