package qdisc

import (
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// ifbPrefix begins the names of such devices, as upstream's.
const ifbPrefix = "bwp"

// IFB is the name of the device for what an owner sends.
func IFB(o state.Owner) string {
	sum := o.Sum()
	return ifbPrefix + hex.EncodeToString(sum[:6])
}

// IsIFB says whether a link is called as such a device.
func IsIFB(a *netlink.LinkAttrs) bool { return strings.HasPrefix(a.Name, ifbPrefix) }

// upstreamIFB is the name that upstream's plugin v1.9.1 gives it, so that its attachments are checked and removed too.
func upstreamIFB(o state.Owner) string {
	sum := sha512.Sum512([]byte(o.Network + o.ContainerID))
	return ifbPrefix + hex.EncodeToString(sum[:6])
}

// addIFB makes the device, or takes the one that an ADD cut short has left. Its name says whose it is, and its group of which
// network.
func (l Limits) addIFB(k *kernel.Kernel, mtu int) (netlink.Link, error) {
	name := IFB(l.Owner)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.Group = name, mtu, state.Group(l.Owner.Network)
	if err := k.Host.LinkAdd(&netlink.Ifb{LinkAttrs: attrs}); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("ip link add %s type ifb: %w", name, lacking(err, "CONFIG_IFB for what a container sends"))
	}
	link, err := k.Host.LinkNow(name)
	if err != nil {
		return nil, err
	}
	if err := k.Host.LinkSetAlias(link, l.Owner.Tag()); err != nil {
		return nil, fmt.Errorf("ip link set %s alias: %w", name, err)
	}
	if err := k.Host.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("ip link set %s up: %w", name, err)
	}
	return link, nil
}

// Prune removes the devices of a network's owners that are not valid.
func Prune(k *kernel.Kernel, network string, valid []state.Owner) error {
	names := make(map[string]bool, len(valid))
	for _, o := range valid {
		names[IFB(o)] = true
	}
	links, err := kernel.Dump(k.Host.LinkList)
	if err != nil {
		return fmt.Errorf("ip link show: %w", err)
	}
	var errs []error
	for _, link := range links {
		a := link.Attrs()
		if link.Type() == "ifb" && IsIFB(a) && a.Group == state.Group(network) && !names[a.Name] {
			errs = append(errs, state.DeleteLink(k.Host, link))
		}
	}
	return errors.Join(errs...)
}
