package state

import (
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Remove deletes the pair from its host end, which needs no container. Where there is none of ours, a veth that has the name in
// the container goes: another suite's plugin of the mode made it, or this one for a network that was called otherwise.
func (v Veth) Remove(k *kernel.Kernel) error {
	link, err := k.Host.LinkNow(v.Owner.HostLink())
	if err == nil {
		return DeleteLink(k.Host, link)
	}
	if !kernel.IsNotFound(err) || k.Container == nil {
		return IgnoreNotFound(err)
	}
	link, err = k.Container.LinkNow(v.Owner.IfName)
	if err != nil || link.Type() != "veth" {
		return IgnoreNotFound(err)
	}
	if others, err := v.isOfAnother(k, link); err != nil || others {
		return err
	}
	return DeleteLink(k.Container, link)
}

// isOfAnother says whether a container's veth belongs to another attachment of ours, which was made under the same name since:
// then the owner has no link any more.
func (v Veth) isOfAnother(k *kernel.Kernel, link netlink.Link) (bool, error) {
	peer, err := k.Host.LinkAt(link.Attrs().ParentIndex)
	if err != nil {
		return false, IgnoreNotFound(err) // its other end lies elsewhere
	}
	attrs := peer.Attrs()
	if peer.Type() != "veth" || attrs.ParentIndex != link.Attrs().Index || !isHostLink(attrs.Name) {
		return false, nil
	}
	// A network that was renamed: the container and its interface are the same.
	return !IsTag(attrs.Alias) || !strings.HasSuffix(attrs.Alias, " "+v.Owner.ContainerID+" "+v.Owner.IfName), nil
}
