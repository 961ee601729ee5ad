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
	"io/fs"

	"github.com/google/nftables"
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
	sockets map[int]*socket // of the host, by protocol, beside rtnetlink's
	pathMTU *int            // nil: not asked for yet
	// remembered is what was listed before; nil: nothing is remembered.
	remembered *listings
	later      []func() error
	aside      bool // other processes wait for grace periods
	held       bool // one of them closes the socket of netfilter
	sharing    sharing
	lock       int // the descriptor, unless sharing is apart
}

// Open opens the host's handles and, unless path is empty, those of the namespace bound to path.
// The error wraps ErrNoNamespace or ErrNotNamespace when the path is at fault.
func Open(path string) (*Kernel, error) {
	links, parameters := &linkCache{}, &procfs{}
	k := &Kernel{Host: &Namespace{fd: -1, links: links, procfs: parameters}}
	if path == "" {
		return k, nil
	}
	var err error
	if k.Container, err = openNamespace(path, links, parameters); err != nil {
		return nil, err
	}
	return k, nil
}

// openNamespace opens the namespace bound to a path, and a socket in it: who may not do that is told here.
func openNamespace(path string, links *linkCache, parameters *procfs) (*Namespace, error) {
	fd, err := openNetNS(path)
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("%s: %w", path, ErrNoNamespace) // which says as much
	}
	if err != nil {
		return nil, err
	}
	n := &Namespace{fd: fd, path: path, links: links, procfs: parameters}
	if _, err := n.rtnetlink(); err != nil {
		n.close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// openNetNS is a descriptor of the network namespace bound to a path. nsfs holds namespaces of every kind.
func openNetNS(path string) (int, error) {
	if _, err := NamespaceAt(path); err != nil { // before it is opened: a path may also lead to a FIFO
		return -1, err
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: path, Err: pathError(err)}
	}
	if kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWNET {
		_ = unix.Close(fd) // only opened
		return -1, fmt.Errorf("%s: %w", path, ErrNotNamespace)
	}
	return fd, nil
}

// Close closes all handles.
func (k *Kernel) Close() {
	k.unlockHost()
	k.leave()
	k.Host.close()
	if k.Container != nil {
		k.Container.close()
	}
	for _, s := range k.sockets {
		s.close()
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
