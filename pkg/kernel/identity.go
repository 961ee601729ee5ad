package kernel

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// NamespaceID tells a network namespace from all others of this boot, as long as it exists.
type NamespaceID struct {
	Path       string
	Dev, Inode uint64
}

// ID identifies the namespace of a container.
func (n *Namespace) ID() (NamespaceID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(n.Fd(), &st); err != nil {
		return NamespaceID{}, fmt.Errorf("%s: %w", n.netNS.Path(), err)
	}
	return NamespaceID{Path: n.netNS.Path(), Dev: st.Dev, Inode: st.Ino}, nil
}

// Visit opens the namespace that was identified for the time of f. The error wraps ErrNoNamespace when its path leads there
// no more.
func (id NamespaceID) Visit(f func(*Namespace) error) error {
	n, err := openNamespace(id.Path)
	if errors.Is(err, ErrNotNamespace) {
		return fmt.Errorf("%s: %w", id.Path, ErrNoNamespace)
	}
	if err != nil {
		return err
	}
	defer n.close()
	if found, err := n.ID(); err != nil || found != id {
		return fmt.Errorf("%s leads to another: %w", id.Path, ErrNoNamespace)
	}
	return f(n)
}

// HostCookie is a number that no other host's namespace of this boot has or will have (Linux 5.14). An older kernel has no
// such number, and gives 0.
func HostCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socket of the host: %w", err)
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if errors.Is(err, unix.ENOPROTOOPT) {
		return 0, nil
	}
	return cookie, err
}
