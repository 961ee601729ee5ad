package agent

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/state/vxlan"
)

// underlay is by what peers reach this host.
type underlay struct {
	address netip.Addr
	link    string
	mtu     int
}

// resolveUnderlay finds the address that peers send to, and its link: the address asked for, or one of the link asked for, or
// one of the link of the default route.
func resolveUnderlay(k *kernel.Kernel, asked string, family int, present netip.Addr) (u underlay, err error) {
	if u.address, err = netip.ParseAddr(asked); err == nil {
		u.address = u.address.Unmap()
	} else if u.address, err = addressOfLink(k, asked, family, present); err != nil {
		return u, err
	}
	if err := overlay.CheckVTEP(u.address); err != nil {
		return u, fmt.Errorf("%w, or leave --underlay out", err)
	}
	if family != 0 && familyOf(u.address) != family {
		return u, fmt.Errorf("address %s is of IPv%d, and the hosts of this cluster have IPv%d: give --underlay an address of that", u.address, familyOf(u.address), family)
	}
	found, err := vxlan.UnderlayOf(k, u.address) // is it there, and up?
	u.link, u.mtu = found.Link, found.MTU
	return u, err
}

func familyOf(addr netip.Addr) int {
	if addr.Is4() {
		return 4
	}
	return 6
}

// addressOfLink chooses an address of the link asked for.
func addressOfLink(k *kernel.Kernel, asked string, family int, present netip.Addr) (netip.Addr, error) {
	name, index, err := underlayLink(k, asked)
	if err != nil {
		return netip.Addr{}, err
	}
	all, err := k.Addresses(index)
	if err != nil {
		return netip.Addr{}, err
	}
	addr, ok := choose(all, family, present)
	switch {
	case ok:
		return addr, nil
	case family != 0 && len(all) > 0:
		return addr, fmt.Errorf("link %s has no address of IPv%d, which the hosts of this cluster have: give it one, or name another link by --underlay", name, family)
	}
	return addr, fmt.Errorf("link %s has no address: give it one, or name another by --underlay", name)
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
	link, err := k.Host.LinkNow(asked)
	if kernel.IsNotFound(err) {
		return "", 0, fmt.Errorf("there is no link %s: make it, or name another by --underlay", asked)
	}
	if err != nil {
		return "", 0, err
	}
	return asked, link.Attrs().Index, nil
}

// choose picks an address that means the same on other hosts and is there to stay, of the cluster's family if there is one. Of
// several, the present one stays, or else the first of IPv4, or else the first: one of a subnet before one for a single host, as a
// virtual address that moves between hosts is.
func choose(all []kernel.AddressEntry, family int, present netip.Addr) (netip.Addr, bool) {
	usable := slices.DeleteFunc(slices.Clone(all), func(c kernel.AddressEntry) bool {
		return c.Passing || !c.Prefix.Addr().IsGlobalUnicast() || family != 0 && familyOf(c.Prefix.Addr()) != family
	})
	subnets := slices.DeleteFunc(slices.Clone(usable), single)
	if len(subnets) > 0 && !slices.ContainsFunc(usable, func(c kernel.AddressEntry) bool { return c.Prefix.Addr() == present && single(c) }) {
		usable = subnets
	}
	if slices.ContainsFunc(usable, func(c kernel.AddressEntry) bool { return c.Prefix.Addr() == present }) {
		return present, true
	}
	// The kernel lists addresses of IPv6 with the newest first.
	if at := slices.IndexFunc(usable, func(c kernel.AddressEntry) bool { return c.Prefix.Addr().Is4() }); at >= 0 {
		return usable[at].Prefix.Addr(), true
	}
	if len(usable) > 0 {
		return usable[len(usable)-1].Prefix.Addr(), true
	}
	return netip.Addr{}, false
}

func single(c kernel.AddressEntry) bool { return c.Prefix.IsSingleIP() }

// lifelines are addresses beyond this host's links that it cannot do without, and what they are.
func lifelines(k *kernel.Kernel) (map[netip.Addr]string, error) {
	needs := make(map[netip.Addr]string)
	routes, err := k.Routes(0)
	if err != nil {
		return nil, err
	}
	for _, r := range routes {
		if r.Dst.Bits() == 0 && r.Via.IsValid() {
			needs[r.Via] = "this host's gateway"
		}
	}
	text, _ := os.ReadFile("/etc/resolv.conf") // a host without has none to lose
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if server, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "nameserver"); ok {
			if addr, err := netip.ParseAddr(strings.TrimSpace(server)); err == nil && !addr.IsLoopback() {
				needs[addr.WithZone("").Unmap()] = "a name server of this host"
			}
		}
	}
	return needs, nil
}
