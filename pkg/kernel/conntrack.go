package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Attributes of ctnetlink (linux/netfilter/nfnetlink_conntrack.h) that the netlink library does not name.
const (
	ctaFilter           = 25
	ctaFilterOrigFlags  = 1
	ctaFilterReplyFlags = 2
	ctaFilterIPSrc      = 1 << 0
	// nfnetlinkFamilyCounts as version makes a deletion heed the family of its message (Linux 4.20).
	nfnetlinkFamilyCounts = 1
	// ctGetStats asks how many connections there are (IPCTNL_MSG_CT_GET_STATS).
	ctGetStats = 5
)

// ForgetConnections removes the connections tracked by the host that a container's address began, or that reached it
// through a published port.
//
// The kernel selects those of IPv4 where it can: Linux 6.1 knows the filter for listings alone and refuses it here
// (EINVAL). Its filter for IPv6 takes all but the address asked for (ctnetlink_filter_match_tuple, up to Linux 6.18 at
// least). What it does not select is listed.
func (k *Kernel) ForgetConnections(addr netip.Addr) error {
	var err error = unix.EINVAL
	if addr.Is4() {
		err = errors.Join(k.forgetSelected(addr, originators), k.forgetSelected(addr, responders))
	}
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		var tracked bool
		if tracked, err = k.tracksConnections(); tracked {
			err = k.forgetListed(addr)
		}
	}
	if err != nil {
		return fmt.Errorf("conntrack -D -s %s: %w", addr, err)
	}
	return nil
}

// tracksConnections says whether the kernel has anything that could be listed. The reply counts as a part of several
// (ctnetlink_stat_ct_fill_info), so that the acknowledgement ends it.
func (k *Kernel) tracksConnections() (bool, error) {
	return k.has(ctRequest(ctGetStats, unix.NLM_F_ACK, unix.AF_UNSPEC))
}

// direction is one of the two of a connection, as a filter names it.
type direction struct{ tuple, flags int }

var (
	originators = direction{nl.CTA_TUPLE_ORIG, ctaFilterOrigFlags}
	responders  = direction{nl.CTA_TUPLE_REPLY, ctaFilterReplyFlags}
)

// filter makes a request mean the connections whose source in a direction is an IPv4 address.
func (d direction) filter(req *nl.NetlinkRequest, addr netip.Addr) {
	tuple := nl.NewRtAttr(d.tuple|unix.NLA_F_NESTED, nil)
	tuple.AddRtAttr(nl.CTA_TUPLE_IP|unix.NLA_F_NESTED, nil).AddRtAttr(nl.CTA_IP_V4_SRC, addr.AsSlice())
	req.AddData(tuple)
	filter := nl.NewRtAttr(ctaFilter|unix.NLA_F_NESTED, nil)
	filter.AddRtAttr(d.flags, nl.Uint32Attr(ctaFilterIPSrc))
	req.AddData(filter)
}

// forgetSelected removes the connections whose source in a direction is an IPv4 address.
func (k *Kernel) forgetSelected(addr netip.Addr, d direction) error {
	req := ctRequest(nl.IPCTNL_MSG_CT_DELETE, unix.NLM_F_ACK, unix.AF_INET)
	d.filter(req, addr)
	_, err := k.ask(req)
	return ignoreEnded(err)
}

// forgetListed lists the connections of an address's family and removes its own one by one. The list of IPv4 is filtered
// (Linux 5.8); an older kernel lists all.
func (k *Kernel) forgetListed(addr netip.Addr) error {
	listings := []*nl.NetlinkRequest{ctRequest(nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP, familyOf(addr))}
	if addr.Is4() {
		listings = append(listings, ctRequest(nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP, unix.AF_INET))
		originators.filter(listings[0], addr)
		responders.filter(listings[1], addr)
	}
	var errs []error
	for _, listing := range listings {
		found, err := k.connectionsOf(addr, listing)
		errs = append(errs, err)
		for _, connection := range found {
			errs = append(errs, k.forgetConnection(familyOf(addr), connection))
		}
	}
	return errors.Join(errs...)
}

// connectionsOf gives, of what a request lists, the connections whose source in either direction is an address.
func (k *Kernel) connectionsOf(addr netip.Addr, listing *nl.NetlinkRequest) (found [][]byte, err error) {
	source, kind := addr.AsSlice(), nl.CTA_IP_V6_SRC
	if addr.Is4() {
		kind = nl.CTA_IP_V4_SRC
	}
	request := netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(listing.Type), Flags: netlink.HeaderFlags(listing.Flags)},
		Data:   listing.Serialize()[unix.SizeofNlMsghdr:],
	}
	err = k.listNetfilter(request, func(reply []byte) {
		connection := reply[sizeofGenmsg:]
		for _, d := range []direction{originators, responders} {
			if bytes.Equal(attribute(attribute(attribute(connection, d.tuple), nl.CTA_TUPLE_IP), kind), source) {
				found = append(found, slices.Clone(connection))
				return
			}
		}
	})
	return found, err
}

// forgetConnection removes one connection, as it was listed. It may have ended meanwhile.
func (k *Kernel) forgetConnection(family uint8, connection []byte) error {
	req := ctRequest(nl.IPCTNL_MSG_CT_DELETE, unix.NLM_F_ACK, family)
	req.AddData(nl.NewRtAttr(nl.CTA_TUPLE_ORIG|unix.NLA_F_NESTED, attribute(connection, nl.CTA_TUPLE_ORIG)))
	// With them the request means this very connection, and none that has its tuple by now.
	for _, exactly := range []int{nl.CTA_ZONE, nl.CTA_ID} {
		if value := attribute(connection, exactly); value != nil {
			req.AddData(nl.NewRtAttr(exactly, value))
		}
	}
	_, err := k.ask(req)
	return ignoreEnded(err)
}

// ignoreEnded makes the absence of a connection a success.
func ignoreEnded(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// ctRequest is a request of the subsystem that tracks connections.
func ctRequest(kind, flags int, family uint8) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|kind, flags)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nfnetlinkFamilyCounts})
	return req
}
