package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/state/vxlan"
)

// resolveUnderlay finds the address that peers send to, and its link: the address asked for, or one of the link asked for, or
// one of the link of the default route. Of several, the present one stays, or else the first of IPv4, or else the first.
func resolveUnderlay(k *kernel.Kernel, asked string, present netip.Addr) (addr netip.Addr, link string, err error) {
	if addr, err = netip.ParseAddr(asked); err == nil {
		addr = addr.Unmap()
	} else if addr, err = addressOfLink(k, asked, present); err != nil {
		return addr, "", err
	}
	if err := overlay.CheckVTEP(addr); err != nil {
		return addr, "", fmt.Errorf("%w, or leave --underlay out", err)
	}
	u, err := vxlan.UnderlayOf(k, addr) // is it there, and up?
	return addr, u.Link, err
}

// addressOfLink chooses an address of the link asked for.
func addressOfLink(k *kernel.Kernel, asked string, present netip.Addr) (netip.Addr, error) {
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
		return netip.Addr{}, fmt.Errorf("link %s has no address: give it one, or name another by --underlay", name)
	}
	return addr, nil
}

// underlayLink finds the link asked for.
func underlayLink(k *kernel.Kernel, asked string) (name string, index int, err error) {
	if asked == "" {
		link := k.Host.Uplink()
		if link == nil {
			return "", 0, errors.New("there is no default route to tell its link: name a link or an address by --underlay")
		}
		return link.Attrs().Name, link.Attrs().Index, nil
	}
	k.Host.Forget(asked)
	link, err := k.Host.Link(asked)
	if kernel.IsNotFound(err) {
		return "", 0, fmt.Errorf("there is no link %s: make it, or name another by --underlay", asked)
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
