package kernel

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/vishvananda/netlink"
)

// Namespace is one network namespace: rtnetlink through the embedded handle, everything else through Do.
type Namespace struct {
	*netlink.Handle

	netNS ns.NetNS // nil: the process's own
	links map[string]netlink.Link
}

func (n *Namespace) close() {
	n.Handle.Close()
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

// Do runs f on a thread inside the namespace.
func (n *Namespace) Do(f func() error) error {
	if n.netNS == nil {
		return f()
	}
	return n.netNS.Do(func(ns.NetNS) error { return f() })
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
	var value []byte
	err := n.Do(func() (err error) {
		value, err = os.ReadFile("/proc/sys/" + key)
		return err
	})
	return strings.TrimSpace(string(value)), err
}

// SetSysctl writes a kernel parameter of the namespace.
func (n *Namespace) SetSysctl(key, value string) error {
	return n.Do(func() error { return os.WriteFile("/proc/sys/"+key, []byte(value), 0o644) })
}
