package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// errUnderlay says that the host has no address for its peers to send to.
var errUnderlay = errors.New("underlay")

// resolveUnderlay finds the address that peers send to: the one asked for, or one of the link asked for, or one of the link
// of the default route. Of several, the present one stays, or else the first of IPv4, or else the first.
func resolveUnderlay(k *kernel.Kernel, asked string, present netip.Addr) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(asked); err == nil {
		if _, err := state.UnderlayOf(k, addr.Unmap()); err != nil {
			return netip.Addr{}, fmt.Errorf("%w: %w", errUnderlay, err)
		}
		return addr.Unmap(), nil
	}
	name, index, err := underlayLink(k, asked)
	if err != nil {
		return netip.Addr{}, err
	}
	entries, err := k.Addresses(index)
	if err != nil {
		return netip.Addr{}, err
	}
	var addrs []netip.Addr
	for _, e := range entries {
		addrs = append(addrs, e.Prefix.Addr())
	}
	addr, ok := choose(addrs, present)
	if !ok {
		return netip.Addr{}, fmt.Errorf("%w: link %s has no address: give it one, or name another by underlay", errUnderlay, name)
	}
	_, err = state.UnderlayOf(k, addr) // is it up?
	return addr, err
}

// underlayLink finds the link asked for.
func underlayLink(k *kernel.Kernel, asked string) (name string, index int, err error) {
	if asked == "" {
		link := k.Host.Uplink()
		if link == nil {
			return "", 0, fmt.Errorf("%w: there is no default route to tell its link: name a link or an address by underlay", errUnderlay)
		}
		return link.Attrs().Name, link.Attrs().Index, nil
	}
	k.Host.Forget(asked)
	link, err := k.Host.Link(asked)
	if kernel.IsNotFound(err) {
		return "", 0, fmt.Errorf("%w: there is no link %s: make it, or name another by underlay", errUnderlay, asked)
	}
	if err != nil {
		return "", 0, err
	}
	return asked, link.Attrs().Index, nil
}

// choose picks an address that means the same on other hosts.
func choose(addrs []netip.Addr, present netip.Addr) (netip.Addr, bool) {
	global := slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return !a.IsGlobalUnicast() })
	if slices.Contains(global, present) {
		return present, true
	}
	if at := slices.IndexFunc(global, netip.Addr.Is4); at >= 0 {
		return global[at], true
	}
	if len(global) > 0 {
		return global[0], true
	}
	return netip.Addr{}, false
}
