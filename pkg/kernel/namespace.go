package kernel

import (
	"fmt"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// hostNamespace is the one that the calling thread is in, and with it the process.
const hostNamespace = "/proc/thread-self/ns/net"

// Namespace is one network namespace: rtnetlink by its methods, everything else through Do. Its links are changed by its methods
// alone, so that none is remembered as it was before.
type Namespace struct {
	fd     int    // -1: the process's own
	path   string // where it was opened
	links  *linkCache
	procfs *procfs
	socket *socket         // nil until it is needed
	handle *netlink.Handle // nil until it is needed
	// waits has another process send a request on a socket and wait for its end. Nil: nobody does.
	waits func(to int, request []byte) (pidfd int, err error)
}

func (n *Namespace) close() {
	if n.handle != nil {
		n.handle.Close()
	}
	if n.socket != nil {
		n.socket.close()
	}
	if n.fd >= 0 {
		_ = unix.Close(n.fd) // only read
	}
	n.procfs.close()
}

// Fd is the descriptor of the namespace, for the attributes that place a link there. It is -1 for the host's own.
func (n *Namespace) Fd() int { return n.fd }

// Path is where the namespace was opened. Empty: the process's own.
func (n *Namespace) Path() string { return n.path }

// Do runs f on a thread inside the namespace. What f starts on other goroutines runs outside.
func (n *Namespace) Do(f func() error) error {
	if n.fd < 0 {
		return f()
	}
	return inside(n.fd, f)
}

// inside moves the caller's thread into a namespace and back, which costs a tenth of a goroutine on a thread of its own.
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

// execute sends a request of rtnetlink to the namespace and receives its answer.
func (n *Namespace) execute(request *nl.NetlinkRequest) error {
	_, err := n.ask(messageOf(request))
	return err
}

// library is the netlink library's way to the namespace, opened on first use.
func (n *Namespace) library() (*netlink.Handle, error) {
	if n.handle != nil {
		return n.handle, nil
	}
	err := n.Do(func() (err error) {
		n.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		n.handle = nil
		return nil, fmt.Errorf("rtnetlink socket: %w", err)
	}
	return n.handle, nil
}

// byLibrary gives what f finds by the netlink library.
func byLibrary[T any](n *Namespace, f func(*netlink.Handle) (T, error)) (found T, err error) {
	h, err := n.library()
	if err != nil {
		return found, err
	}
	return f(h)
}
