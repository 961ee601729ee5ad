// Package kernel holds the handles through which one attachment reads and changes kernel state: rtnetlink sockets of the
// host's network namespace and of the container's, and the host's nftables.
//
// The host's namespace is the one the process runs in. Handles are opened inside a namespace and then used from any
// thread; only what has no handle (sysctl files, raw sockets) runs through Namespace.Do, which moves a thread. CAP_NET_ADMIN
// is needed in both namespaces.
package kernel

import (
	"errors"
	"fmt"

	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

var (
	// ErrNoNamespace says that the path of a namespace does not exist (any more).
	ErrNoNamespace = errors.New("network namespace does not exist")
	// ErrNotNamespace says that a path exists and is not a network namespace.
	ErrNotNamespace = errors.New("not a network namespace")
)

// Kernel is the two network namespaces that one attachment touches, and the host's nftables.
type Kernel struct {
	// Host is the namespace the process runs in.
	Host *Namespace
	// Container is nil when the request names no namespace, or one that has gone.
	Container *Namespace

	nft     *nftables.Conn
	sockets map[int]*nl.SocketHandle // by protocol
	rt      *rtSocket                // for many requests at a time
	buffer  []byte                   // for listings
	pathMTU *int                     // nil: not asked for yet
	later   []func() error
	sharing sharing
	lock    int // the descriptor, unless sharing is apart
}

// Open opens the host's handles and, unless path is empty, those of the namespace bound to path.
// The error wraps ErrNoNamespace or ErrNotNamespace when the path is at fault.
func Open(path string) (*Kernel, error) {
	host, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("rtnetlink socket of the host: %w", err)
	}
	k := &Kernel{Host: &Namespace{Handle: host}}
	if path == "" {
		return k, nil
	}
	if k.Container, err = openNamespace(path); err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

func openNamespace(path string) (*Namespace, error) {
	netNS, err := ns.GetNS(path)
	var gone ns.NSPathNotExistErr
	var other ns.NSPathNotNSErr
	switch {
	case errors.As(err, &gone):
		return nil, fmt.Errorf("%s: %w", path, ErrNoNamespace)
	case errors.As(err, &other):
		return nil, fmt.Errorf("%s: %w", path, ErrNotNamespace)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, namespaceError(path, err))
	}
	n := &Namespace{netNS: netNS}
	if err := n.openSockets(); err != nil {
		_ = netNS.Close() // the error that matters is the one at hand
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// namespaceError is the cause that the library names in its text only: a path that leads through a file leads nowhere.
func namespaceError(path string, err error) error {
	var st unix.Stat_t
	if cause := unix.Stat(path, &st); cause != nil {
		return pathError(cause)
	}
	return err
}

// openSockets opens the rtnetlink sockets of a container's namespace: both on one way there, which costs more than a socket. nsfs
// holds namespaces of every kind, and /proc more than those.
func (n *Namespace) openSockets() error {
	if kind, err := unix.IoctlRetInt(n.Fd(), unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWNET {
		return ErrNotNamespace
	}
	return n.Do(func() (err error) {
		if n.socket, err = openSocket(); err != nil {
			return err
		}
		if n.Handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
			n.socket.Close()
		}
		return err
	})
}

// Close closes all handles.
func (k *Kernel) Close() {
	k.unlockHost()
	k.Host.close()
	if k.Container != nil {
		k.Container.close()
	}
	for _, handle := range k.sockets {
		handle.Close()
	}
	if k.rt != nil {
		k.rt.close()
	}
	if k.nft != nil {
		_ = k.nft.CloseLasting() // nothing is buffered in the socket
	}
}

// Later puts off what is to be done when everything else of an attachment has gone.
func (k *Kernel) Later(f func() error) { k.later = append(k.later, f) }

// Finish does what was put off.
func (k *Kernel) Finish() error {
	var errs []error
	for _, f := range k.later {
		errs = append(errs, f())
	}
	k.later = nil
	return errors.Join(errs...)
}

// Nftables is a connection to the host's nftables, opened on first use.
func (k *Kernel) Nftables() (*nftables.Conn, error) {
	if k.nft != nil {
		return k.nft, nil
	}
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, fmt.Errorf("nfnetlink socket of the host: %w", err)
	}
	k.nft = conn
	return conn, nil
}

// IsHost says whether a path is bound to the namespace that the process runs in. A path that cannot be read is not. No file has
// the numbers of a namespace but its own, so that what kind of file it is need not be asked for.
func IsHost(path string) bool {
	var own, other unix.Stat_t
	if unix.Stat(hostNamespace, &own) != nil || unix.Stat(path, &other) != nil {
		return false
	}
	return own.Dev == other.Dev && own.Ino == other.Ino
}
