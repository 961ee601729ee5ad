package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Flow is a connection that the host tracks: where its first packet went, and who answers.
type Flow struct {
	To, AnsweredBy netip.AddrPort
}

// ForgetUDP removes those flows of UDP of a family, tracked by the host, that are chosen.
func (k *Kernel) ForgetUDP(ipv6 bool, chosen func(Flow) bool) error {
	family := uint8(unix.AF_INET)
	if ipv6 {
		family = unix.AF_INET6
	}
	if tracked, err := k.tracksConnections(); !tracked || err != nil {
		return err
	}
	list, err := k.ask(udpFlows(family))
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		list, err = k.ask(ctRequest(nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP, family)) // a kernel without the filter
	}
	if err != nil {
		return fmt.Errorf("conntrack -L -p udp: %w", err)
	}
	var errs []error
	for _, message := range list {
		connection := message[sizeofGenmsg:]
		orig, reply := attribute(connection, nl.CTA_TUPLE_ORIG), attribute(connection, nl.CTA_TUPLE_REPLY)
		if protocol := attribute(attribute(orig, nl.CTA_TUPLE_PROTO), nl.CTA_PROTO_NUM); len(protocol) == 0 || protocol[0] != unix.IPPROTO_UDP {
			continue
		}
		if chosen(Flow{To: tupleEnd(orig, family, false), AnsweredBy: tupleEnd(reply, family, true)}) {
			errs = append(errs, k.forgetConnection(family, connection))
		}
	}
	return errors.Join(errs...)
}

// ctaFilterProtoNum selects by the protocol (net/netfilter/nf_conntrack_netlink.c).
const ctaFilterProtoNum = 1 << 3

// udpFlows asks for the flows of UDP, which the kernel selects (Linux 5.8).
func udpFlows(family uint8) *nl.NetlinkRequest {
	req := ctRequest(nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP, family)
	orig := nl.NewRtAttr(nl.CTA_TUPLE_ORIG|unix.NLA_F_NESTED, nil)
	orig.AddRtAttr(nl.CTA_TUPLE_PROTO|unix.NLA_F_NESTED, nil).AddRtAttr(nl.CTA_PROTO_NUM, []byte{unix.IPPROTO_UDP})
	req.AddData(orig)
	filter := nl.NewRtAttr(ctaFilter|unix.NLA_F_NESTED, nil)
	filter.AddRtAttr(ctaFilterOrigFlags, nl.Uint32Attr(ctaFilterProtoNum))
	req.AddData(filter)
	return req
}

// tupleEnd is the source of one direction of a connection, or where it goes.
func tupleEnd(tuple []byte, family uint8, source bool) netip.AddrPort {
	address, port := nl.CTA_IP_V4_DST, nl.CTA_PROTO_DST_PORT
	switch {
	case family == unix.AF_INET && source:
		address, port = nl.CTA_IP_V4_SRC, nl.CTA_PROTO_SRC_PORT
	case source:
		address, port = nl.CTA_IP_V6_SRC, nl.CTA_PROTO_SRC_PORT
	case family == unix.AF_INET6:
		address = nl.CTA_IP_V6_DST
	}
	addr, _ := netip.AddrFromSlice(attribute(attribute(tuple, nl.CTA_TUPLE_IP), address))
	number := attribute(attribute(tuple, nl.CTA_TUPLE_PROTO), port)
	if len(number) < 2 {
		return netip.AddrPortFrom(addr, 0)
	}
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(number))
}
