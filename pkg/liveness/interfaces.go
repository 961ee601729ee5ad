package liveness

import (
	"bytes"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Interface is what is known of a container's interface.
type Interface struct {
	Name string
	// MAC is nil when unknown.
	MAC net.HardwareAddr
	// Addresses may be empty.
	Addresses []netip.Addr
	// Prefixes are the addresses with their lengths, of what was read.
	Prefixes []netip.Prefix
}

// inside is what a namespace other than the host's holds.
type inside struct {
	path  string
	links []Interface
}

// Has says whether the namespace at a path has the interface: a link with its MAC, by whatever name, or where that is unknown
// one of its name.
func (o *Observer) Has(path string, i Interface) bool {
	if kernel.IsHost(path) {
		return false
	}
	links, err := linksAt(path)
	return err == nil && slices.ContainsFunc(links, func(l Interface) bool { return o.same(i, l) })
}

// HasNamed says whether the namespace at a path has a link of the name that has one of the addresses.
func (o *Observer) HasNamed(path string, i Interface) bool {
	links, err := linksAt(path)
	return err == nil && slices.ContainsFunc(links, func(l Interface) bool { return l.Name == i.Name && i.sharesAddress(l) })
}

// Everywhere looks for the interface in all namespaces that anything holds. found is true also when not all of them can be
// seen.
func (o *Observer) Everywhere(i Interface) (found bool) {
	if o.inside == nil {
		o.inside = []inside{}
		for _, path := range o.held().at {
			if links, err := linksAt(path); err == nil && !kernel.IsHost(path) {
				o.inside = append(o.inside, inside{path, links})
			}
		}
	}
	return o.holders.blind || slices.ContainsFunc(o.inside, func(in inside) bool {
		return slices.ContainsFunc(in.links, func(l Interface) bool { return o.same(i, l) })
	})
}

// Read reads a link of the namespace at a path by its name.
func (o *Observer) Read(path, name string) (i Interface, ok bool) {
	links, err := linksAt(path)
	at := slices.IndexFunc(links, func(l Interface) bool { return l.Name == name })
	if err != nil || at < 0 {
		return Interface{}, false
	}
	return links[at], true
}

// same says whether a link is the interface. That of an ipvlan has a MAC of the host, as all on the same parent.
func (o *Observer) same(i, l Interface) bool {
	switch {
	case i.MAC == nil && len(i.Addresses) == 0:
		return i.Name == l.Name
	case i.MAC == nil:
		return i.sharesAddress(l)
	case !bytes.Equal(i.MAC, l.MAC):
		return false
	}
	shared := slices.ContainsFunc(o.hostEnds().macs, func(m net.HardwareAddr) bool { return bytes.Equal(m, i.MAC) })
	return !shared || len(i.Addresses) == 0 || i.sharesAddress(l)
}

func (i Interface) sharesAddress(l Interface) bool {
	return slices.ContainsFunc(i.Addresses, func(a netip.Addr) bool { return slices.Contains(l.Addresses, a) })
}

func linksAt(path string) ([]Interface, error) {
	k, err := kernel.Open(path)
	if err != nil {
		return nil, err
	}
	defer k.Close()
	links, err := kernel.Dump(k.Container.LinkList)
	if err != nil {
		return nil, err
	}
	addresses, err := kernel.Dump(func() ([]netlink.Addr, error) { return k.Container.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, err
	}
	var all []Interface
	for _, link := range links {
		i := Interface{Name: link.Attrs().Name, MAC: link.Attrs().HardwareAddr}
		for _, a := range addresses {
			if addr, ok := netip.AddrFromSlice(a.IP); ok && a.LinkIndex == link.Attrs().Index {
				bits, _ := a.Mask.Size()
				i.Addresses = append(i.Addresses, addr.Unmap())
				i.Prefixes = append(i.Prefixes, netip.PrefixFrom(addr.Unmap(), bits))
			}
		}
		all = append(all, i)
	}
	return all, nil
}
