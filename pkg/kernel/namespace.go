package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"

	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// hostNamespace is the one that the calling thread is in, and with it the process.
const hostNamespace = "/proc/thread-self/ns/net"

// Namespace is one network namespace: rtnetlink through the embedded handle, everything else through Do.
type Namespace struct {
	*netlink.Handle

	netNS  ns.NetNS // nil: the process's own
	links  map[string]netlink.Link
	socket *nl.SocketHandle // for messages of our own; of the host nil until there is one
}

func (n *Namespace) close() {
	n.Handle.Close()
	if n.socket != nil {
		n.socket.Close()
	}
	if n.netNS != nil {
		_ = n.netNS.Close() // a descriptor that is only read
	}
}

// Fd is the descriptor of the namespace, for the attributes that place a link there. It is -1 for the host's own.
func (n *Namespace) Fd() int {
	if n.netNS == nil {
		return -1
	}
	return int(n.netNS.Fd())
}

// Path is where the namespace was opened. Empty: the process's own.
func (n *Namespace) Path() string {
	if n.netNS == nil {
		return ""
	}
	return n.netNS.Path()
}

// Do runs f on a thread inside the namespace. What f starts on other goroutines runs outside.
func (n *Namespace) Do(f func() error) error {
	if n.netNS == nil {
		return f()
	}
	return inside(n.Fd(), f)
}

// inside moves the caller's thread into a namespace and back, which costs a tenth of a goroutine on a thread of its own, as
// ns.NetNS has it.
func inside(fd int, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := ownNamespace()
	if err != nil {
		return err
	}
	defer unix.Close(own)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("setns: %w", err)
	}
	defer func() {
		// It cannot fail, as the thread came from there. Nothing must go on in the wrong namespace if it does.
		if err := unix.Setns(own, unix.CLONE_NEWNET); err != nil {
			panic(fmt.Sprintf("setns back to the host: %v", err))
		}
	}()
	return f()
}

// ownNamespace is a descriptor of the namespace that the process runs in, to be closed.
func ownNamespace() (int, error) {
	fd, err := unix.Open(hostNamespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("the thread's network namespace: %w", err)
	}
	return fd, nil
}

// execute sends a request of rtnetlink from inside the namespace and receives its answer.
func (n *Namespace) execute(request *nl.NetlinkRequest) error {
	if n.socket == nil {
		var err error
		if n.socket, err = openSocket(); err != nil {
			return err
		}
	}
	request.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: n.socket}
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// openSocket opens an rtnetlink socket in the namespace that the thread is in.
func openSocket() (*nl.SocketHandle, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("rtnetlink socket: %w", err)
	}
	return &nl.SocketHandle{Socket: socket}, nil
}

// Link finds a link by name and remembers it, as the objects of one attachment ask for the same few. When there is none,
// IsNotFound(err) holds.
func (n *Namespace) Link(name string) (netlink.Link, error) {
	if link, ok := n.links[name]; ok {
		return link, nil
	}
	link, err := n.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("ip link show %s: %w", name, err)
	}
	n.remember(name, link)
	return link, nil
}

// LinkAt finds a link by index and remembers it for Link. When there is none, IsNotFound(err) holds.
func (n *Namespace) LinkAt(index int) (netlink.Link, error) {
	link, err := n.LinkByIndex(index)
	if err != nil {
		return nil, fmt.Errorf("ip link show with index %d: %w", index, err)
	}
	n.remember(link.Attrs().Name, link)
	return link, nil
}

func (n *Namespace) remember(name string, link netlink.Link) {
	if n.links == nil {
		n.links = make(map[string]netlink.Link)
	}
	n.links[name] = link
}

// Refresh drops what Link remembers of any link: each try of an attachment begins with it, as others may have removed what the
// last one has seen.
func (k *Kernel) Refresh() {
	for _, n := range []*Namespace{k.Host, k.Container} {
		if n != nil {
			n.links = nil
		}
	}
}

// Forget drops what Link remembers of a name; to be called after a link was changed or removed.
func (n *Namespace) Forget(name string) { delete(n.links, name) }

// IsNotFound says whether an error means that a link does not exist.
func IsNotFound(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing)
}

// Sysctl reads a kernel parameter of the namespace. The key has slashes (net/ipv4/ip_forward), as a link's name may hold
// dots.
func (n *Namespace) Sysctl(key string) (string, error) {
	var value string
	err := n.Do(func() (err error) {
		value, err = readSysctl("/proc/sys/" + key)
		return err
	})
	return strings.TrimSpace(value), err
}

// readSysctl reads a file of /proc/sys, without the poller that an os.File has. None is longer than a page.
func readSysctl(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	value := make([]byte, 4096)
	length, err := unix.Read(fd, value)
	if err != nil {
		return "", &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return string(value[:length]), nil
}

// writeSysctl writes a file of /proc/sys, in one call, as the kernel wants it.
func writeSysctl(path, value string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(value)); err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

// SetSysctl writes a kernel parameter of the namespace.
func (n *Namespace) SetSysctl(key, value string) error {
	return n.Do(func() error { return writeSysctl("/proc/sys/"+key, value) })
}

// Assignment is a value for a kernel parameter.
type Assignment struct{ Key, Value string }

// SetSysctls writes kernel parameters of the namespace in their order, until one fails: the way there and back costs more than a
// write.
func (n *Namespace) SetSysctls(all []Assignment) error {
	return n.Do(func() error {
		for _, a := range all {
			if err := writeSysctl("/proc/sys/"+a.Key, a.Value); err != nil {
				return err
			}
		}
		return nil
	})
}

// SettleSysctl writes a kernel parameter of the namespace unless it has a value that is right already.
func (n *Namespace) SettleSysctl(key, value string, right func(value string) bool) (written bool, err error) {
	err = n.Do(func() error {
		if found, err := readSysctl("/proc/sys/" + key); err == nil && right(strings.TrimSpace(found)) {
			return nil
		}
		written = true
		return writeSysctl("/proc/sys/"+key, value)
	})
	return written && err == nil, err
}
