package lan

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"

	"github.com/fairway-cni/fairway/pkg/failure"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Master is the link of a physical network that macvlan links lie on.
type Master struct {
	// Name of the link; empty for that of the default route.
	Name string
	// In is the namespace of the link.
	In state.Place
}

// String is the link's name, or what an administrator would look for.
func (m Master) String() string {
	if m.Name == "" {
		return "$(ip route show default)"
	}
	return m.Name
}

// link finds the master. The error wraps ErrAbsent when there is none, and
// ErrConflict when it can have no macvlan.
func (m Master) link(k *kernel.Kernel) (netlink.Link, error) {
	n := m.In.In(k)
	if m.Name == "" {
		link := n.Uplink()
		if link == nil {
			return nil, failure.Of(state.ErrAbsent, "no default route leads to a master in the %s's namespace: name an interface in key master", m.In)
		}
		return link, m.fit(link)
	}
	link, err := n.Link(m.Name)
	if kernel.IsNotFound(err) {
		return nil, failure.Of(state.ErrAbsent, "master %s does not exist in the %s's namespace: name an interface in key master", m.Name, m.In)
	}
	if err != nil {
		return nil, err
	}
	return link, m.fit(link)
}

// fit says why the kernel would refuse a macvlan on a link, where the kernel says EINVAL only.
func (m Master) fit(link netlink.Link) error {
	attrs := link.Attrs()
	if attrs.EncapType != "ether" || attrs.Flags&net.FlagLoopback != 0 {
		return failure.Of(state.ErrConflict, "master %s is no Ethernet interface: name one in key master", attrs.Name)
	}
	return nil
}

// lower is the link that a macvlan on a link really lies on: the kernel puts none on top of another.
func lower(link netlink.Link) int {
	if link.Type() == "macvlan" {
		return link.Attrs().ParentIndex
	}
	return link.Attrs().Index
}

// free says whether no other link takes the master's frames. One in a VRF keeps them.
func (m Master) free(k *kernel.Kernel, link netlink.Link) error {
	if link.Attrs().MasterIndex == 0 {
		return nil
	}
	holder, err := m.In.In(k).LinkAt(link.Attrs().MasterIndex)
	if err != nil || holder.Type() == "vrf" {
		return state.IgnoreNotFound(err)
	}
	return m.takenBy(link, holder.Attrs().Name)
}

func (Master) takenBy(link netlink.Link, holder string) error {
	name := link.Attrs().Name
	return failure.Of(state.ErrConflict, "master %s is a port of %s, which takes its frames: name %s in key master, or take %s out of it",
		name, holder, holder, name)
}

// busyError explains that the kernel let no macvlan on a master because that belongs to another link.
func (m Master) busyError(k *kernel.Kernel, link netlink.Link, err error) error {
	holder := "another link"
	if found, lookup := m.In.In(k).LinkAt(link.Attrs().MasterIndex); lookup == nil {
		holder = found.Attrs().Name
	}
	return fmt.Errorf("%w: %w", m.takenBy(link, holder), err)
}
