package state

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Address is an address of a link, with the length of its subnet. An IPv6 address is usable at once, without duplicate
// Address detection, unless DAD asks for it.
type Address struct {
	Attribute
	In     Place
	Link   string
	Prefix netip.Prefix
	// DAD runs duplicate address detection (RFC 4862, 5.4) and waits for its end.
	DAD bool
}

func (a Address) Place() Place { return a.In }

func (a Address) String() string {
	text := fmt.Sprintf("ip addr add %s dev %s", a.Prefix, a.Link)
	if a.Prefix.Addr().Is6() && !a.DAD {
		text += " nodad"
	}
	return text
}

// Ensure adds the address.
func (a Address) Ensure(k *kernel.Kernel) (bool, error) {
	n := a.In.In(k)
	link, err := n.Link(a.Link)
	if err != nil {
		return false, err
	}
	request := a.request(link)
	err = n.Execute(request)
	if a.Prefix.Addr().Is6() && errors.Is(err, unix.EACCES) {
		if err = a.In.enableIPv6(k, a.Link); err == nil {
			err = n.Execute(request)
		}
	}
	switch {
	case errors.Is(err, unix.EEXIST):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("%s: %w", a, AsVanished(withoutIPv6(a.family(), err)))
	}
	if a.DAD && a.Prefix.Addr().Is6() {
		return true, a.waitForDAD(n, link)
	}
	return true, nil
}

func (a Address) family() uint8 {
	if a.Prefix.Addr().Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func (a Address) request(link netlink.Link) kernel.Message {
	entry := kernel.AddressEntry{Link: link.Attrs().Index, Prefix: a.Prefix}
	if a.DAD {
		return entry.AddAfterDetection()
	}
	return entry.Add()
}

// Verify looks for the address with its length.
func (a Address) Verify(k *kernel.Kernel) error {
	n := a.In.In(k)
	link, err := n.Link(a.Link)
	if err != nil {
		return IgnoreNotFound(err) // the link's own Verify says so
	}
	found, err := LinkAddresses(n, link)
	if err != nil {
		return err
	}
	for _, addr := range found {
		if PrefixOf(addr.IPNet) == a.Prefix {
			return nil
		}
	}
	return Driftf("%s has no address %s", a.Link, a.Prefix)
}

// Addresses lists the addresses of a link, with the length of their subnets.
func Addresses(k *kernel.Kernel, in Place, name string) ([]netip.Prefix, error) {
	link, err := in.In(k).Link(name)
	if err != nil {
		return nil, err
	}
	found, err := LinkAddresses(in.In(k), link)
	if err != nil {
		return nil, err
	}
	var prefixes []netip.Prefix
	for _, addr := range found {
		prefixes = append(prefixes, PrefixOf(addr.IPNet))
	}
	return prefixes, nil
}

// LinkAddresses lists the addresses of a link.
func LinkAddresses(n *kernel.Namespace, link netlink.Link) ([]netlink.Addr, error) {
	found, err := kernel.Dump(func() ([]netlink.Addr, error) { return n.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("ip addr show dev %s: %w", link.Attrs().Name, err)
	}
	return found, nil
}

// IPNet is a prefix as the netlink library takes it.
func IPNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// PrefixOf is what the netlink library gives, as a prefix. The zero prefix stands for nil.
func PrefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	addr, _ := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), ones)
}
