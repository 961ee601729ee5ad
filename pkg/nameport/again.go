package nameport

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ErrNotRedirected says that the rules are missing, in part or changed.
var ErrNotRedirected = errors.New("127.0.0.11 is not redirected")

// OpenAgain opens sockets at the port to which the rules lead that are there. Nothing is written: a transaction that fails, as
// that of OpenFirst would, waits for a grace period of RCU, and a resolver that starts again has a thousand containers to open. The
// error is ErrNotRedirected when there are no such rules.
func OpenAgain() (Sockets, error) {
	to, err := leadsTo()
	if err != nil {
		return Sockets{}, err
	}
	return Listen(to)
}

// leadsTo lists the rules by one datagram each way, as writeFirst writes them. It is Redirect.Find for rules that are as they were written.
func leadsTo() (uint16, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return 0, fmt.Errorf("nfnetlink socket: %w", err)
	}
	defer unix.Close(fd)
	encoder := netlink.NewAttributeEncoder()
	encoder.String(unix.NFTA_RULE_TABLE, Table)
	encoder.String(unix.NFTA_RULE_CHAIN, chain().Name)
	attributes, err := encoder.Encode()
	if err != nil {
		return 0, err
	}
	ask := appendMessage(nil, unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETRULE, netlink.Dump, unix.NFPROTO_IPV4, attributes)
	if err := unix.Sendto(fd, ask, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("nfnetlink socket: %w", err)
	}
	var listed []uint16
	answer := make([]byte, 1<<14)
	for {
		// The kernel has answered by now, and answers more with each look.
		n, _, err := unix.Recvfrom(fd, answer, unix.MSG_DONTWAIT)
		if err != nil {
			return 0, fmt.Errorf("nft list chain ip %s: %w", Table, err)
		}
		done, ports, err := readRules(answer[:n], len(listed))
		if listed = append(listed, ports...); err != nil {
			return 0, err
		}
		if done {
			break
		}
	}
	if len(listed) != len(protocols) || listed[0] != listed[1] {
		return 0, ErrNotRedirected
	}
	return listed[0], nil
}

// readRules reads the messages of one datagram, of which the first is about the rule of a number.
func readRules(messages []byte, first int) (done bool, ports []uint16, err error) {
	for len(messages) >= unix.NLMSG_HDRLEN {
		length := int(binary.NativeEndian.Uint32(messages))
		if length < unix.NLMSG_HDRLEN || length > len(messages) {
			return false, nil, ErrNotRedirected
		}
		kind, flags := binary.NativeEndian.Uint16(messages[4:]), binary.NativeEndian.Uint16(messages[6:])
		body := messages[unix.NLMSG_HDRLEN:length]
		messages = messages[min(len(messages), (length+3)&^3):]
		switch {
		case kind == unix.NLMSG_DONE:
			return true, ports, nil
		case kind == unix.NLMSG_ERROR, flags&unix.NLM_F_DUMP_INTR != 0, len(body) < nfgenmsg:
			return false, nil, ErrNotRedirected // whoever looks more closely says why
		}
		number := first + len(ports)
		if number >= len(protocols) {
			return false, nil, ErrNotRedirected
		}
		to, ok := portOf(body[nfgenmsg:], protocols[number])
		if !ok {
			return false, nil, ErrNotRedirected
		}
		ports = append(ports, to)
	}
	return false, ports, nil
}

// nfgenmsg is the size of nfnetlink's header in bytes.
const nfgenmsg = 4

// portOf is where a rule leads, if it is one of ours for a protocol.
func portOf(attributes []byte, protocol byte) (to uint16, ok bool) {
	wanted := expressions(protocol, 0)
	var found []expr.Any
	decoder, err := netlink.NewAttributeDecoder(attributes)
	if err != nil {
		return 0, false
	}
	for decoder.Next() {
		if decoder.Type() != unix.NFTA_RULE_EXPRESSIONS {
			continue
		}
		decoder.Nested(func(list *netlink.AttributeDecoder) error {
			for list.Next() {
				list.Nested(func(element *netlink.AttributeDecoder) error {
					if len(found) >= len(wanted) {
						return ErrNotRedirected
					}
					e, err := decodeLike(wanted[len(found)], element)
					found = append(found, e)
					return err
				})
			}
			return nil
		})
	}
	if decoder.Err() != nil || len(found) != len(wanted) {
		return 0, false
	}
	to, ok = target(found)
	if !ok {
		return 0, false
	}
	for i, e := range expressions(protocol, to) {
		if !same(e, found[i]) {
			return 0, false
		}
	}
	return to, true
}

// decodeLike reads an expression of the same kind as another.
func decodeLike(wanted expr.Any, element *netlink.AttributeDecoder) (expr.Any, error) {
	kind, e := blank(wanted)
	for element.Next() {
		switch element.Type() {
		case unix.NFTA_EXPR_NAME:
			if element.String() != kind {
				return nil, ErrNotRedirected
			}
		case unix.NFTA_EXPR_DATA:
			if err := expr.Unmarshal(unix.NFPROTO_IPV4, element.Bytes(), e); err != nil {
				return nil, err
			}
		}
	}
	return e, nil
}

// blank is an empty expression of the same kind as one of ours, and the kernel's name of it.
func blank(e expr.Any) (string, expr.Any) {
	switch e.(type) {
	case *expr.Payload:
		return "payload", &expr.Payload{}
	case *expr.Meta:
		return "meta", &expr.Meta{}
	case *expr.Immediate:
		return "immediate", &expr.Immediate{}
	case *expr.NAT:
		return "nat", &expr.NAT{}
	}
	return "cmp", &expr.Cmp{}
}
