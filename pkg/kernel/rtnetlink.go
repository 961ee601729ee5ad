package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Message is one request of netlink.
type Message struct {
	// Kind is RTM_NEWROUTE and the like, Flags are NLM_F_CREATE and the like.
	Kind, Flags uint16
	// Body is the header of the kind and its attributes.
	Body []byte
}

// perBatch keeps the answers to a batch, all errors, within a socket's default receive buffer.
const perBatch = 128

// Batch sends requests to the host, many at a time, and gives the error of each in their order: nil for one that was carried
// out. A request that fails keeps none of the others from being carried out.
func (k *Kernel) Batch(requests []Message) (errs []error, err error) { return k.Host.batch(requests) }

func (n *Namespace) batch(requests []Message) (errs []error, err error) {
	errs = make([]error, len(requests))
	for from := 0; from < len(requests); from += perBatch {
		to := min(from+perBatch, len(requests))
		err := n.withSocket(func(s *socket) error { return s.batch(requests[from:to], errs[from:to]) })
		if err != nil {
			return nil, fmt.Errorf("rtnetlink: %w", err)
		}
	}
	return errs, nil
}

// List lists what a request asks the host for, and calls each with the body of every object, which is good until it returns;
// each may ask the kernel for nothing. The error is ErrInterrupted when objects may be missing.
//
// Every body begins with an address family. Asked for one that it does not have (IPv6, with ipv6.disable=1), the kernel
// lists those it has (rtnl_dump_all), which are not passed on.
func (k *Kernel) List(kind uint16, body []byte, each func(body []byte) error) error {
	return k.Host.list(kind, body, each)
}

func (n *Namespace) list(kind uint16, body []byte, each func(body []byte) error) error {
	family := body[0]
	request := Message{Kind: kind, Flags: unix.NLM_F_DUMP, Body: body}
	return n.withSocket(func(s *socket) error {
		return s.list(request, func(found []byte) error {
			if family != unix.AF_UNSPEC && (len(found) == 0 || found[0] != family) {
				return nil
			}
			return each(found)
		})
	})
}

// withSocket gives f the namespace's rtnetlink socket. When f fails, what is left of its answers may wait in the socket.
func (n *Namespace) withSocket(f func(*socket) error) error {
	s, err := n.rtnetlink()
	if err != nil {
		return err
	}
	if err = f(s); err != nil {
		s.close()
		n.socket = nil
	}
	return err
}

// rtnetlink opens the socket on first use.
func (n *Namespace) rtnetlink() (*socket, error) {
	if n.socket != nil {
		return n.socket, nil
	}
	err := n.Do(func() (err error) {
		n.socket, err = openSocket(unix.NETLINK_ROUTE)
		return err
	})
	return n.socket, err
}

// ask sends a request to the namespace, and receives the objects that it asks for, or its error.
func (n *Namespace) ask(request Message) (objects [][]byte, err error) {
	var answers []answers
	err = n.withSocket(func(s *socket) (err error) {
		answers, err = s.ask([]Message{request})
		return err
	})
	if err != nil {
		return nil, err
	}
	return answers[0].objects, answers[0].err
}

// ErrInterrupted says that something changed while it was listed, so that objects may be missing (NLM_F_DUMP_INTR).
var ErrInterrupted = errors.New("changed while it was listed")

// cutMessage reads the first message of a datagram, and gives what is behind it. ok is false at the end.
func cutMessage(datagram []byte) (m syscall.NetlinkMessage, rest []byte, ok bool) {
	if len(datagram) < unix.SizeofNlMsghdr {
		return m, nil, false
	}
	m.Header = syscall.NlMsghdr{
		Len: binary.NativeEndian.Uint32(datagram), Type: binary.NativeEndian.Uint16(datagram[4:]),
		Flags: binary.NativeEndian.Uint16(datagram[6:]), Seq: binary.NativeEndian.Uint32(datagram[8:]),
	}
	size := int(m.Header.Len)
	if size < unix.SizeofNlMsghdr || size > len(datagram) {
		return m, nil, false
	}
	m.Data = datagram[unix.SizeofNlMsghdr:size]
	return m, datagram[min(align(size), len(datagram)):], true
}

// errorIn is the error that an answer to a request says, nil for success.
func errorIn(m syscall.NetlinkMessage) error {
	if len(m.Data) < 4 {
		return unix.EBADMSG
	}
	if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

// align is a length rounded up to where the next message or attribute begins (NLMSG_ALIGN, RTA_ALIGN).
func align(size int) int { return (size + 3) &^ 3 }

// appendAttribute appends an attribute to a message's body.
func appendAttribute(body []byte, kind uint16, value []byte) []byte {
	size := unix.SizeofRtAttr + len(value)
	body = binary.NativeEndian.AppendUint16(body, uint16(size))
	body = binary.NativeEndian.AppendUint16(body, kind)
	body = append(body, value...)
	return append(body, make([]byte, align(size)-size)...)
}

// eachAttribute calls f with each attribute of a message's body, behind its header.
func eachAttribute(attributes []byte, f func(kind uint16, value []byte)) {
	for len(attributes) >= unix.SizeofRtAttr {
		size := int(binary.NativeEndian.Uint16(attributes))
		if size < unix.SizeofRtAttr || size > len(attributes) {
			return
		}
		f(binary.NativeEndian.Uint16(attributes[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), attributes[unix.SizeofRtAttr:size])
		attributes = attributes[min(align(size), len(attributes)):]
	}
}

func uint32Value(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
