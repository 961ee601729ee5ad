package state

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// removeLink deletes a link by name. Absence is success.
func removeLink(n *kernel.Namespace, name string) error {
	n.Forget(name)
	link, err := n.Link(name)
	if kernel.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	n.Forget(name)
	return deleteLink(n, link)
}

// deleteLink deletes a link that was there a moment ago.
func deleteLink(n *kernel.Namespace, link netlink.Link) error {
	if err := n.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("ip link del %s: %w", link.Attrs().Name, err)
	}
	return nil
}

// verifyLink finds a link for Verify: its absence is drift.
func verifyLink(n *kernel.Namespace, where Place, name string) (netlink.Link, error) {
	link, err := n.Link(name)
	if kernel.IsNotFound(err) {
		return nil, driftf("link %s is gone from the %s's namespace", name, where)
	}
	return link, err
}

// linkFree says whether the container has no link of a name. The error wraps ErrExists.
func linkFree(k *kernel.Kernel, name string) error {
	k.Container.Forget(name)
	_, err := k.Container.Link(name)
	switch {
	case kernel.IsNotFound(err):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("interface %s %w in the container: ask for another name in CNI_IFNAME, or remove that one", name, ErrExists)
}
