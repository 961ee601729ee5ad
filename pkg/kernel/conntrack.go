package kernel

import (
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
// through a published port. The kernel selects them (Linux 5.8); an older one is left alone, as the alternative is to
// read the whole table.
func (k *Kernel) ForgetConnections(addr netip.Addr) error {
	return errors.Join(
		k.forgetConnections(addr, nl.CTA_TUPLE_ORIG, ctaFilterOrigFlags),
		k.forgetConnections(addr, nl.CTA_TUPLE_REPLY, ctaFilterReplyFlags))
}

func (k *Kernel) forgetConnections(addr netip.Addr, tuple, flags int) error {
	family, source := uint8(unix.AF_INET), nl.CTA_IP_V4_SRC
	if addr.Is6() {
		family, source = unix.AF_INET6, nl.CTA_IP_V6_SRC
	}
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|nl.IPCTNL_MSG_CT_DELETE, unix.NLM_F_ACK)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nfnetlinkFamilyCounts})
	direction := nl.NewRtAttr(tuple|unix.NLA_F_NESTED, nil)
	direction.AddRtAttr(nl.CTA_TUPLE_IP|unix.NLA_F_NESTED, nil).AddRtAttr(source, addr.AsSlice())
	req.AddData(direction)
	filter := nl.NewRtAttr(ctaFilter|unix.NLA_F_NESTED, nil)
	filter.AddRtAttr(flags, nl.Uint32Attr(ctaFilterIPSrc))
	req.AddData(filter)
	_, err := k.ask(req)
	switch {
	case err == nil, errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL):
		return nil // a kernel without connection tracking, or without the filter
	}
	return fmt.Errorf("conntrack -D -s %s: %w", addr, err)
}
