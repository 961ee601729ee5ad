package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// NamespaceID tells a network namespace from all others of this boot. The zero value is none.
type NamespaceID struct {
	// Dev and Inode are those of its file. The kernel gives an inode to another namespace once this one has ended.
	Dev, Inode uint64
	// Cookie is never given again during one boot (Linux 5.14). 0: unknown.
	Cookie uint64
}

// Is says whether both are the same namespace, as far as both are known.
func (id NamespaceID) Is(other NamespaceID) bool {
	same := id.Dev == other.Dev && id.Inode == other.Inode && id.Inode != 0
	return same && (id.Cookie == other.Cookie || id.Cookie == 0 || other.Cookie == 0)
}

// At says whether a path leads to the namespace now: by one system call, as no file has its numbers but its own.
func (id NamespaceID) At(path string) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil && id.Is(NamespaceID{Dev: st.Dev, Inode: st.Ino})
}

// MayBeAt says whether a path leads to the namespace, or to none: all namespaces' files have one device.
func (id NamespaceID) MayBeAt(path string) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) != nil || st.Dev != id.Dev || st.Ino == id.Inode
}

// NamespaceAt is the namespace that a path leads to now, without its cookie: to compare paths, and not to be kept. The error
// wraps ErrNoNamespace or ErrNotNamespace when the path is at fault.
func NamespaceAt(path string) (NamespaceID, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return NamespaceID{}, fmt.Errorf("%s: %w", path, pathError(err))
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return NamespaceID{}, fmt.Errorf("%s: %w", path, pathError(err))
	}
	if fs.Type != unix.NSFS_MAGIC {
		return NamespaceID{}, fmt.Errorf("%s: %w", path, ErrNotNamespace)
	}
	return NamespaceID{Dev: st.Dev, Inode: st.Ino}, nil
}

// pathError adds ErrNoNamespace to the cause of a path that leads nowhere.
func pathError(err error) error {
	for _, cause := range []unix.Errno{unix.ENOENT, unix.ESRCH, unix.ENOTDIR, unix.ENAMETOOLONG, unix.ELOOP} {
		if errors.Is(err, cause) {
			return fmt.Errorf("%w: %w", ErrNoNamespace, err)
		}
	}
	return err
}

// Identify is the namespace that a path leads to, as it is to be kept. Errors are those of NamespaceAt.
func Identify(path string) (NamespaceID, error) {
	fd, err := openNetNS(path)
	if err != nil {
		return NamespaceID{}, err
	}
	defer func() { _ = unix.Close(fd) }() // only read
	var id NamespaceID
	err = inside(fd, func() (err error) {
		id, err = identifyOwn(fd)
		return err
	})
	return id, err
}

// ID identifies the namespace of a container. It costs next to nothing, as a socket of the namespace is at hand.
func (n *Namespace) ID() (NamespaceID, error) {
	id, err := numbersOf(n.Fd())
	if err != nil {
		return id, err
	}
	s, err := n.rtnetlink()
	if err != nil {
		return id, err
	}
	id.Cookie, err = cookieOf(s.fd)
	return id, err
}

// HostID identifies the namespace that the process runs in.
func HostID() (NamespaceID, error) {
	fd, err := ownNamespace()
	if err != nil {
		return NamespaceID{}, err
	}
	defer unix.Close(fd)
	return identifyOwn(fd)
}

// identifyOwn identifies the namespace that the thread is in, and a descriptor of it.
func identifyOwn(fd int) (NamespaceID, error) {
	id, err := numbersOf(fd)
	if err != nil {
		return id, err
	}
	id.Cookie, err = HostCookie()
	return id, err
}

// numbersOf are the numbers of a namespace's file, without the cookie.
func numbersOf(fd int) (NamespaceID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return NamespaceID{}, fmt.Errorf("namespace: %w", err)
	}
	return NamespaceID{Dev: st.Dev, Inode: st.Ino}, nil
}

// Visit opens the namespace for the time of f: by its number where the kernel can, or else by a path at which it was seen. The
// error wraps ErrNoNamespace when neither leads there.
func (id NamespaceID) Visit(path string, f func(*Namespace) error) error {
	fd, err := id.open()
	if err == nil {
		defer func() { _ = unix.Close(fd) }() // only read
		path = fmt.Sprintf("/proc/self/fd/%d", fd)
	} else if errors.Is(err, ErrNoNamespace) {
		return err
	}
	n, err := openNamespace(path, &linkCache{}, &procfs{})
	if errors.Is(err, ErrNotNamespace) {
		return fmt.Errorf("%s: %w", path, ErrNoNamespace)
	}
	if err != nil {
		return err
	}
	defer n.close()
	if found, err := n.ID(); err != nil || !found.Is(id) {
		return fmt.Errorf("%s leads to another: %w", path, ErrNoNamespace)
	}
	return f(n)
}

// VisitThread runs f on a thread inside the namespace, found by a path at which it was seen. It costs a tenth of Visit, as no
// handle is opened. The error wraps ErrNoNamespace when the path leads there no more.
func (id NamespaceID) VisitThread(path string, f func(fd int) error) error {
	if !id.At(path) { // before it is opened: a path may also lead to a FIFO
		return fmt.Errorf("%s: %w", path, ErrNoNamespace)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: pathError(err)}
	}
	defer func() { _ = unix.Close(fd) }() // only read
	return inside(fd, func() error {
		if cookie, err := HostCookie(); err != nil || id.Cookie != 0 && cookie != id.Cookie {
			return fmt.Errorf("%s leads to another: %w", path, ErrNoNamespace)
		}
		return f(fd)
	})
}

// NumberOf is by which the host refers to the namespace at a path (ip netns list-id); -1 for one that it has no link to.
func (k *Kernel) NumberOf(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }() // only read
	return k.Host.NumberOf(fd)
}

// NumberOf is by which the namespace refers to another one, of which a descriptor is given; -1 for one that it has no link to.
func (n *Namespace) NumberOf(fd int) (int, error) {
	const netnsaNSID, netnsaFD = 1, 3                                           // linux/net_namespace.h
	body := appendAttribute(make([]byte, 4), netnsaFD, uint32Value(uint32(fd))) // behind a struct rtgenmsg
	found, err := n.ask(Message{Kind: unix.RTM_GETNSID, Body: body})
	if err != nil {
		return -1, err
	}
	for _, answer := range found {
		if value := attribute(answer[min(4, len(answer)):], netnsaNSID); len(value) == 4 {
			return int(int32(binary.NativeEndian.Uint32(value))), nil
		}
	}
	return -1, nil
}

// HostCookie is a number that no other host's namespace of this boot has or will have (Linux 5.14). An older kernel has no
// such number, and gives 0.
func HostCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socket of the host: %w", err)
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written
	return cookieOf(fd)
}

// cookieOf is that of the namespace in which a socket was opened.
func cookieOf(socket int) (uint64, error) {
	cookie, err := unix.GetsockoptUint64(socket, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if errors.Is(err, unix.ENOPROTOOPT) {
		return 0, nil
	}
	return cookie, err
}
