package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"

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
)

// ForgetConnections removes the connections tracked by the host that a container's address began, or that reached it
// through a published port.
//
// The kernel selects those of IPv4 (Linux 5.8); an older one is left alone. Its filter for IPv6 takes all but the address
// asked for (ctnetlink_filter_match_tuple, up to Linux 6.18 at least), so that these are listed.
func (k *Kernel) ForgetConnections(addr netip.Addr) error {
	var err error
	if addr.Is6() {
		err = k.forgetListed(addr)
	} else {
		err = errors.Join(
			k.forgetSelected(addr, nl.CTA_TUPLE_ORIG, ctaFilterOrigFlags),
			k.forgetSelected(addr, nl.CTA_TUPLE_REPLY, ctaFilterReplyFlags))
	}
	if err != nil {
		return fmt.Errorf("conntrack -D -s %s: %w", addr, err)
	}
	return nil
}

// forgetSelected removes the connections whose source in a direction is an IPv4 address.
func (k *Kernel) forgetSelected(addr netip.Addr, tuple, flags int) error {
	req := ctRequest(nl.IPCTNL_MSG_CT_DELETE, unix.NLM_F_ACK, unix.AF_INET)
	direction := nl.NewRtAttr(tuple|unix.NLA_F_NESTED, nil)
	direction.AddRtAttr(nl.CTA_TUPLE_IP|unix.NLA_F_NESTED, nil).AddRtAttr(nl.CTA_IP_V4_SRC, addr.AsSlice())
	req.AddData(direction)
	filter := nl.NewRtAttr(ctaFilter|unix.NLA_F_NESTED, nil)
	filter.AddRtAttr(flags, nl.Uint32Attr(ctaFilterIPSrc))
	req.AddData(filter)
	_, err := k.ask(req)
	return ignoreUntracked(err)
}

// forgetListed lists the connections of IPv6 and removes, one by one, those whose source in either direction is an address.
func (k *Kernel) forgetListed(addr netip.Addr) error {
	list, err := k.ask(ctRequest(nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP, unix.AF_INET6))
	if err != nil {
		return ignoreUntracked(err)
	}
	source := addr.AsSlice()
	var errs []error
	for _, message := range list {
		connection := message[sizeofGenmsg:]
		orig, reply := attribute(connection, nl.CTA_TUPLE_ORIG), attribute(connection, nl.CTA_TUPLE_REPLY)
		if bytes.Equal(tupleSource(orig), source) || bytes.Equal(tupleSource(reply), source) {
			errs = append(errs, k.forgetConnection(connection))
		}
	}
	return errors.Join(errs...)
}

// forgetConnection removes one connection of IPv6, as it was listed. It may have ended meanwhile.
func (k *Kernel) forgetConnection(connection []byte) error {
	req := ctRequest(nl.IPCTNL_MSG_CT_DELETE, unix.NLM_F_ACK, unix.AF_INET6)
	req.AddData(nl.NewRtAttr(nl.CTA_TUPLE_ORIG|unix.NLA_F_NESTED, attribute(connection, nl.CTA_TUPLE_ORIG)))
	// With them the request means this very connection, and none that has its tuple by now.
	for _, exactly := range []int{nl.CTA_ZONE, nl.CTA_ID} {
		if value := attribute(connection, exactly); value != nil {
			req.AddData(nl.NewRtAttr(exactly, value))
		}
	}
	_, err := k.ask(req)
	return ignoreUntracked(err)
}

// ignoreUntracked makes the absence of a connection a success, and that of connection tracking or its filter.
func ignoreUntracked(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

// tupleSource is the source address of one direction of a connection of IPv6.
func tupleSource(tuple []byte) []byte {
	return attribute(attribute(tuple, nl.CTA_TUPLE_IP), nl.CTA_IP_V6_SRC)
}

// ctRequest is a request of the subsystem that tracks connections.
func ctRequest(kind, flags int, family uint8) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|kind, flags)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nfnetlinkFamilyCounts})
	return req
}
