package wireguard

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// find looks for the device. Nil: there is none. A link of that name which is not the network's is an error that wraps ErrConflict.
func (t Tunnel) find(k *kernel.Kernel) (netlink.Link, error) {
	link, err := k.Host.LinkNow(t.Name)
	switch {
	case kernel.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, err
	case link.Attrs().Alias != "" && link.Attrs().Alias != state.OverlayTag(t.Network):
		return nil, fmt.Errorf("link %s has the alias %q and is not of network %s, %w: remove it, or choose another vni",
			t.Name, link.Attrs().Alias, t.Network, state.ErrConflict)
	case link.Type() != "wireguard" && link.Type() != "tuntap" && link.Type() != "tun":
		return nil, fmt.Errorf("link %s is a %s, %w: remove it, or choose another vni", t.Name, link.Type(), state.ErrConflict)
	}
	return link, nil
}

// ensureLink makes the device, not up yet. One of another driver, as of a release before the kernel had WireGuard, is made anew.
func (t Tunnel) ensureLink(k *kernel.Kernel) (link netlink.Link, created bool, err error) {
	if link, err = t.find(k); err != nil {
		return nil, false, err
	}
	if link != nil && !t.driver().Made(link) {
		if err := state.DeleteLink(k.Host, link); err != nil {
			return nil, false, err
		}
		link = nil
	}
	if link != nil {
		return link, false, nil
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.Group = t.Name, t.MTU, state.Group(t.Network)
	err = t.driver().Make(k, attrs)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, false, err
	}
	created = err == nil
	if link, err = t.find(k); err == nil && link == nil {
		err = fmt.Errorf("%s: %w", t.Name, state.ErrVanished)
	}
	return link, created, err
}

// deviation is one difference between the link and what is declared, and what puts it right.
type deviation struct {
	text string
	fix  func(*kernel.Kernel, netlink.Link) error
}

func (t Tunnel) deviations(link netlink.Link) (found []deviation) {
	a, group := link.Attrs(), state.Group(t.Network)
	if a.MTU != t.MTU {
		found = append(found, deviation{fmt.Sprintf("has MTU %d instead of %d", a.MTU, t.MTU),
			func(k *kernel.Kernel, l netlink.Link) error { return k.Host.LinkSetMTU(l, t.MTU) }})
	}
	if a.Group != group {
		found = append(found, deviation{fmt.Sprintf("is in group %d instead of %d", a.Group, group),
			func(k *kernel.Kernel, l netlink.Link) error { return k.Host.LinkSetGroup(l, int(group)) }})
	}
	if a.Flags&net.FlagUp == 0 {
		found = append(found, deviation{"is down", t.raise})
	}
	return found
}

func (t Tunnel) repair(k *kernel.Kernel, link netlink.Link) error {
	for _, d := range t.deviations(link) {
		if err := d.fix(k, link); err != nil {
			return fmt.Errorf("link %s %s: %w", t.Name, d.text, state.AsVanished(err))
		}
	}
	return nil
}

// reversePath is the parameter that says which ways back a packet's source has to have: 2 is any. While a host replaces its key, what
// comes by one device may be answered by the other; whose addresses a peer may use, the device itself knows.
func reversePath(link string) string { return "net/ipv4/conf/" + link + "/rp_filter" }

func (t Tunnel) takeAnyWayBack(k *kernel.Kernel) {
	if value, err := k.Host.Sysctl(reversePath(t.Name)); err == nil && value != "2" {
		_ = k.Host.SetSysctl(reversePath(t.Name), "2") // without it, packets may be lost while a key is replaced, and no others
	}
}

func (t Tunnel) raise(k *kernel.Kernel, link netlink.Link) error {
	state.IgnoreRouters(k, t.Name)
	err := k.Host.LinkSetUp(link)
	if errors.Is(err, unix.EADDRINUSE) {
		return t.portTaken(err)
	}
	return err
}

func (t Tunnel) portTaken(err error) error {
	return fmt.Errorf("its UDP port %d is somebody else's on this host, %w: choose another wireguardPort: %w", t.Port, state.ErrConflict, err)
}
