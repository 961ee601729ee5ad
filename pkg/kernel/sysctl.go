package kernel

import (
	"errors"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// procfs is an instance of the file system that this process has for itself, mounted nowhere. In the kernel's cache of names, those of all
// namespaces that were ever looked up in an instance lie in one chain, dead ones included, which each look-up goes through: after a
// thousand containers, the directory of a new one's parameters takes half a millisecond to find in /proc, and 0.05 with the instance made.
type procfs struct {
	root  int // -1: there is none
	tried bool
}

// open makes the instance on first use. It takes CAP_SYS_ADMIN, as to enter a namespace does, and Linux 5.2; without, there is /proc.
func (p *procfs) open() (root int, ok bool) {
	if !p.tried {
		p.tried, p.root = true, -1
		if fd, err := mountProc(); err == nil {
			p.root = fd
		}
	}
	return p.root, p.root >= 0
}

func (p *procfs) close() {
	if p.tried && p.root >= 0 {
		_ = unix.Close(p.root) // only looked into
	}
	p.tried = false
}

func mountProc() (int, error) {
	fd, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	if err := unix.FsconfigCreate(fd); err != nil {
		return -1, err
	}
	return unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
}

// parameter is the file or directory of a kernel parameter: a path, and the directory that it begins in. The chains of IPv4 and of others
// are short, as few look these up in containers.
func (n *Namespace) parameter(key string) (directory int, path string) {
	if n.fd >= 0 || strings.HasPrefix(key, "net/ipv6/") {
		if root, ok := n.procfs.open(); ok {
			return root, "sys/" + key
		}
	}
	return unix.AT_FDCWD, "/proc/sys/" + key
}

// Sysctl reads a kernel parameter of the namespace. The key has slashes (net/ipv4/ip_forward), as a link's name may hold
// dots.
func (n *Namespace) Sysctl(key string) (value string, err error) {
	err = n.Do(func() error {
		value, err = n.readParameter(key)
		return err
	})
	return value, err
}

func (n *Namespace) readParameter(key string) (string, error) {
	value, err := readSmallAt(n.parameter(key))
	return strings.TrimSpace(value), pathOf(key, err)
}

// SetSysctl writes a kernel parameter of the namespace.
func (n *Namespace) SetSysctl(key, value string) error {
	return n.Do(func() error { return n.writeParameter(key, value) })
}

func (n *Namespace) writeParameter(key, value string) error {
	n.links.forgetParameters()
	directory, path := n.parameter(key)
	return pathOf(key, writeAt(directory, path, value))
}

// Assignment is a value for a kernel parameter.
type Assignment struct{ Key, Value string }

// SetSysctls writes kernel parameters that lie in one directory of the namespace (net/ipv6/conf/eth0), in their order, until one fails.
// The way there and back costs more than a write.
func (n *Namespace) SetSysctls(directory string, all []Assignment) error {
	n.links.forgetParameters()
	return n.Do(func() error {
		root, path := n.parameter(directory)
		fd, err := unix.Openat(root, path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return &fs.PathError{Op: "open", Path: "/proc/sys/" + directory, Err: err}
		}
		defer unix.Close(fd)
		for _, a := range all {
			if err := writeAt(fd, a.Key, a.Value); err != nil {
				return err
			}
		}
		return nil
	})
}

// SettleSysctl writes a kernel parameter of the namespace unless it has a value that is right already.
func (n *Namespace) SettleSysctl(key, value string, right func(value string) bool) (written bool, err error) {
	err = n.Do(func() error {
		if found, err := n.readParameter(key); err == nil && right(found) {
			return nil
		}
		written = true
		return n.writeParameter(key, value)
	})
	return written && err == nil, err
}

// pathOf has an error tell where an administrator finds the parameter.
func pathOf(key string, err error) error {
	var failed *fs.PathError
	if errors.As(err, &failed) {
		failed.Path = "/proc/sys/" + key
	}
	return err
}

// ReadSmall reads a file of at most a page, as those of /proc/sys are, in one call and without the runtime's poller, which an os.File
// has. Errors are those of os.ReadFile.
func ReadSmall(path string) (string, error) { return readSmallAt(unix.AT_FDCWD, path) }

func readSmallAt(directory int, path string) (string, error) {
	fd, err := unix.Openat(directory, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	content := make([]byte, 4096)
	length, err := unix.Read(fd, content)
	if err != nil {
		return "", &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return string(content[:length]), nil
}

// writeAt writes a file of a directory in one call, as the kernel wants it of parameters.
func writeAt(directory int, path, value string) error {
	fd, err := unix.Openat(directory, path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(value)); err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}
