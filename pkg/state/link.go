package state

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// RemoveLink deletes a link by name. Absence is success.
func RemoveLink(n *kernel.Namespace, name string) error {
	link, err := n.LinkNow(name)
	if kernel.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return DeleteLink(n, link)
}

// DeleteLink deletes a link that was there a moment ago.
func DeleteLink(n *kernel.Namespace, link netlink.Link) error {
	if err := n.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("ip link del %s: %w", link.Attrs().Name, err)
	}
	return nil
}

// VerifyLink finds a link for Verify: its absence is drift.
func VerifyLink(n *kernel.Namespace, where Place, name string) (netlink.Link, error) {
	link, err := n.Link(name)
	if kernel.IsNotFound(err) {
		return nil, Driftf("link %s is gone from the %s's namespace", name, where)
	}
	return link, err
}

// LinkFree says whether the container has no link of a name. The error wraps ErrExists.
func LinkFree(k *kernel.Kernel, name string) error {
	_, err := k.Container.LinkNow(name)
	switch {
	case kernel.IsNotFound(err):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("interface %s %w in the container: ask for another name in CNI_IFNAME, or remove that one", name, ErrExists)
}

// HostPrefix is the prefix of one address.
func HostPrefix(addr netip.Addr) netip.Prefix { return netip.PrefixFrom(addr, addr.BitLen()) }

// AsVanished marks an error that says that a link has gone meanwhile.
func AsVanished(err error) error {
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENETDOWN) || kernel.IsNotFound(err) {
		return fmt.Errorf("%w: %w", err, ErrVanished)
	}
	return err
}

// MTUOrPath is the MTU itself, or that of the path to the outside when it is 0.
func MTUOrPath(k *kernel.Kernel, mtu int) int {
	if mtu > 0 {
		return mtu
	}
	return k.PathMTU()
}
