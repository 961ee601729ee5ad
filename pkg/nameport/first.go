package nameport

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ErrRedirected says that a namespace has a table of ours, complete or not.
var ErrRedirected = errors.New("127.0.0.11 is redirected already")

// writeFirst writes the rules into a namespace that has none, by one datagram each way: a container's start waits for it. The
// nftables library would list tables first and waits for an answer to each message, each time by way of Go's poller.
func writeFirst(to uint16) error {
	batch, err := firstBatch(to)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("nfnetlink socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("nfnetlink socket: %w", err)
	}
	// The kernel has answered by now: the first error, or that all is well.
	answer := make([]byte, 8192)
	n, _, err := unix.Recvfrom(fd, answer, unix.MSG_DONTWAIT)
	if err != nil {
		return fmt.Errorf("nfnetlink socket: %w", err)
	}
	if n < unix.NLMSG_HDRLEN+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return fmt.Errorf("nft add table ip %s: %w", Table, unix.EPROTO)
	}
	switch errno := unix.Errno(-int32(binary.NativeEndian.Uint32(answer[unix.NLMSG_HDRLEN:]))); errno {
	case 0:
		return nil
	case unix.EEXIST:
		return ErrRedirected
	default:
		return fmt.Errorf("nft add table ip %s: %w", Table, errno)
	}
}

// firstBatch is the transaction: table, chain and rules, of which the table has to be new.
func firstBatch(to uint16) ([]byte, error) {
	const create = netlink.Create
	messages := []struct {
		kind       netlink.HeaderType
		flags      netlink.HeaderFlags
		attributes func(*netlink.AttributeEncoder)
	}{
		{unix.NFT_MSG_NEWTABLE, create | netlink.Excl, func(a *netlink.AttributeEncoder) { a.String(unix.NFTA_TABLE_NAME, Table) }},
		{unix.NFT_MSG_NEWCHAIN, create, encodeChain},
		{unix.NFT_MSG_NEWRULE, create | netlink.Append, encodeRule(protocols[0], to)},
		{unix.NFT_MSG_NEWRULE, create | netlink.Append | netlink.Acknowledge, encodeRule(protocols[1], to)},
	}
	batch := appendMessage(nil, unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, nil)
	for _, m := range messages {
		encoder := netlink.NewAttributeEncoder()
		encoder.ByteOrder = binary.BigEndian
		m.attributes(encoder)
		attributes, err := encoder.Encode()
		if err != nil {
			return nil, err
		}
		batch = appendMessage(batch, unix.NFNL_SUBSYS_NFTABLES<<8|m.kind, m.flags, unix.NFPROTO_IPV4, attributes)
	}
	return appendMessage(batch, unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, nil), nil
}

// appendMessage appends a message of nfnetlink. The marks of a batch name the subsystem, where others have a zero.
func appendMessage(batch []byte, kind netlink.HeaderType, flags netlink.HeaderFlags, family byte, attributes []byte) []byte {
	subsystem := byte(0)
	if family == unix.AF_UNSPEC {
		subsystem = unix.NFNL_SUBSYS_NFTABLES
	}
	batch = binary.NativeEndian.AppendUint32(batch, uint32(unix.NLMSG_HDRLEN+4+len(attributes)))
	batch = binary.NativeEndian.AppendUint16(batch, uint16(kind))
	batch = binary.NativeEndian.AppendUint16(batch, uint16(netlink.Request|flags))
	batch = append(batch, 0, 0, 0, 0, 0, 0, 0, 0) // sequence and port: there is one answer
	batch = append(batch, family, unix.NFNETLINK_V0, 0, subsystem)
	return append(batch, attributes...)
}

func encodeChain(a *netlink.AttributeEncoder) {
	c := chain()
	a.String(unix.NFTA_CHAIN_TABLE, Table)
	a.String(unix.NFTA_CHAIN_NAME, c.Name)
	a.Nested(unix.NFTA_CHAIN_HOOK, func(hook *netlink.AttributeEncoder) error {
		hook.Uint32(unix.NFTA_HOOK_HOOKNUM, uint32(*c.Hooknum))
		hook.Uint32(unix.NFTA_HOOK_PRIORITY, uint32(int32(*c.Priority)))
		return nil
	})
	a.String(unix.NFTA_CHAIN_TYPE, string(c.Type))
}

func encodeRule(protocol byte, to uint16) func(*netlink.AttributeEncoder) {
	return func(a *netlink.AttributeEncoder) {
		a.String(unix.NFTA_RULE_TABLE, Table)
		a.String(unix.NFTA_RULE_CHAIN, chain().Name)
		a.Nested(unix.NFTA_RULE_EXPRESSIONS, func(list *netlink.AttributeEncoder) error {
			for _, e := range expressions(protocol, to) {
				text, err := expr.Marshal(unix.NFPROTO_IPV4, e)
				if err != nil {
					return err
				}
				list.Bytes(unix.NLA_F_NESTED|unix.NFTA_LIST_ELEM, text)
			}
			return nil
		})
	}
}
