package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// change does with a link what the netlink library can, after which nothing is remembered of it.
func (n *Namespace) change(link netlink.Link, f func(*netlink.Handle) error) error {
	h, err := n.library()
	if err != nil {
		return err
	}
	n.links.forget(n, link.Attrs().Name)
	return f(h)
}

// LinkAdd makes a link (ip link add). The error wraps unix.EEXIST when its name is taken.
func (n *Namespace) LinkAdd(link netlink.Link) error {
	if fd, ok := link.Attrs().Namespace.(netlink.NsFd); ok && fd >= 0 {
		n.links.clear() // it appears in another namespace
	}
	return n.change(link, func(h *netlink.Handle) error { return h.LinkAdd(link) })
}

// LinkDel deletes a link, and what lies on it. The error wraps unix.ENODEV when it has gone.
func (n *Namespace) LinkDel(link netlink.Link) error {
	n.links.clear()
	if n.waits != nil {
		return n.deleteAside(link.Attrs().Index)
	}
	return n.Execute(Message{Kind: unix.RTM_DELLINK, Body: linkHeader(link.Attrs().Index)})
}

// LinkSetUp raises a link.
func (n *Namespace) LinkSetUp(link netlink.Link) error {
	return n.change(link, func(h *netlink.Handle) error { return h.LinkSetUp(link) })
}

// LinkSetHardwareAddr sets the address of a link, to the same as well: its neighbours may be told of it.
func (n *Namespace) LinkSetHardwareAddr(link netlink.Link, mac net.HardwareAddr) error {
	n.links.forget(n, link.Attrs().Name)
	return n.Execute(Message{
		Kind: unix.RTM_SETLINK, Body: appendAttribute(linkHeader(link.Attrs().Index), unix.IFLA_ADDRESS, mac),
	})
}

// LinkAnnounce sets the address of a link to what it is, of which the kernel tells neighbours where the link asks for it. For IPv4
// the link is made to ask (arp_notify, Linux 2.6.37 by this way), in the same datagram. It stays as it is remembered.
func (n *Namespace) LinkAnnounce(link netlink.Link, ipv4 bool) error {
	var requests []Message
	if ipv4 {
		const arpNotify = 22 // IPV4_DEVCONF_ARP_NOTIFY (linux/ip.h)
		parameters := appendAttribute(nil, unix.IFLA_INET_CONF|unix.NLA_F_NESTED, appendAttribute(nil, arpNotify, uint32Value(1)))
		families := appendAttribute(nil, unix.AF_INET|unix.NLA_F_NESTED, parameters)
		requests = append(requests, Message{
			Kind: unix.RTM_SETLINK, Body: appendAttribute(linkHeader(link.Attrs().Index), unix.IFLA_AF_SPEC|unix.NLA_F_NESTED, families),
		})
	}
	requests = append(requests, Message{
		Kind: unix.RTM_SETLINK, Body: appendAttribute(linkHeader(link.Attrs().Index), unix.IFLA_ADDRESS, link.Attrs().HardwareAddr),
	})
	errs, err := n.batch(requests)
	return errors.Join(append(errs, err)...)
}

// LinkSetMTU sets the MTU of a link in bytes.
func (n *Namespace) LinkSetMTU(link netlink.Link, mtu int) error {
	return n.change(link, func(h *netlink.Handle) error { return h.LinkSetMTU(link, mtu) })
}

// LinkSetAlias sets the alias of a link.
func (n *Namespace) LinkSetAlias(link netlink.Link, alias string) error {
	return n.change(link, func(h *netlink.Handle) error { return h.LinkSetAlias(link, alias) })
}

// LinkSetGroup puts a link into a device group.
func (n *Namespace) LinkSetGroup(link netlink.Link, group int) error {
	return n.change(link, func(h *netlink.Handle) error { return h.LinkSetGroup(link, group) })
}

// LinkSetTxQLen sets the length of a link's queue in packets.
func (n *Namespace) LinkSetTxQLen(link netlink.Link, length int) error {
	return n.change(link, func(h *netlink.Handle) error { return h.LinkSetTxQLen(link, length) })
}

// LinkSetAllmulticastOn makes a link receive all multicast frames.
func (n *Namespace) LinkSetAllmulticastOn(link netlink.Link) error {
	return n.change(link, func(h *netlink.Handle) error { return h.LinkSetAllmulticastOn(link) })
}

// LinkSetAllmulticastOff undoes LinkSetAllmulticastOn.
func (n *Namespace) LinkSetAllmulticastOff(link netlink.Link) error {
	return n.change(link, func(h *netlink.Handle) error { return h.LinkSetAllmulticastOff(link) })
}

// SetPromiscOn makes a link receive all frames.
func (n *Namespace) SetPromiscOn(link netlink.Link) error {
	return n.change(link, func(h *netlink.Handle) error { return h.SetPromiscOn(link) })
}

// SetPromiscOff undoes SetPromiscOn.
func (n *Namespace) SetPromiscOff(link netlink.Link) error {
	return n.change(link, func(h *netlink.Handle) error { return h.SetPromiscOff(link) })
}

// LinkSetHairpin lets a frame leave by the port of a bridge that it came in by.
func (n *Namespace) LinkSetHairpin(link netlink.Link, on bool) error {
	return n.change(link, func(h *netlink.Handle) error { return h.LinkSetHairpin(link, on) })
}

// LinkSetIsolated keeps a port of a bridge from other isolated ones.
func (n *Namespace) LinkSetIsolated(link netlink.Link, on bool) error {
	return n.change(link, func(h *netlink.Handle) error { return h.LinkSetIsolated(link, on) })
}

// BridgeSetVlanFiltering turns the VLAN filter of a bridge on or off.
func (n *Namespace) BridgeSetVlanFiltering(bridge netlink.Link, on bool) error {
	return n.change(bridge, func(h *netlink.Handle) error { return h.BridgeSetVlanFiltering(bridge, on) })
}

// SetVXLANLocal makes a VXLAN device send from an address, and learn none. The netlink library sends the port with it, which the
// kernel refuses to change.
func (n *Namespace) SetVXLANLocal(link netlink.Link, local netip.Addr) error {
	n.links.forget(n, link.Attrs().Name)
	header := nl.NewIfInfomsg(unix.AF_UNSPEC)
	header.Index = int32(link.Attrs().Index)
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	req.AddData(header)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("vxlan"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	kind := nl.IFLA_VXLAN_LOCAL
	if local.Is6() {
		kind = nl.IFLA_VXLAN_LOCAL6
	}
	data.AddRtAttr(kind, local.AsSlice())
	data.AddRtAttr(nl.IFLA_VXLAN_LEARNING, nl.Uint8Attr(0))
	req.AddData(info)
	return n.execute(req)
}

// RenameUp gives a link that is down another name and raises it, by one request. The error wraps unix.EEXIST when the name
// is taken.
func (n *Namespace) RenameUp(link netlink.Link, name string) error {
	n.links.forget(n, link.Attrs().Name)
	n.links.forget(n, name)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index, msg.Flags, msg.Change = int32(link.Attrs().Index), unix.IFF_UP, unix.IFF_UP
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	if err := n.execute(req); err != nil {
		return fmt.Errorf("ip link set %s name %s up: %w", link.Attrs().Name, name, err)
	}
	return nil
}
