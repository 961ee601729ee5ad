package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Message is one request of rtnetlink on the host.
type Message struct {
	// Kind is RTM_NEWROUTE and the like, Flags are NLM_F_CREATE and the like.
	Kind, Flags uint16
	// Body is the header of the kind and its attributes.
	Body []byte
}

// rtSocket is an rtnetlink socket for many requests at a time. The netlink library sends one and waits for its answer,
// which for the entries of a thousand peers is a thousand round trips.
type rtSocket struct {
	fd     int
	seq    uint32
	buffer []byte
}

const (
	// perBatch keeps the answers to a batch, all errors, within a socket's default receive buffer.
	perBatch = 128
	// dumpBuffer is what the kernel makes the parts of a listing as large as, at most (netlink_dump, 32 KiB).
	dumpBuffer = 1 << 16
)

// rtnetlink opens the socket on first use.
func (k *Kernel) rtnetlink() (*rtSocket, error) {
	if k.rt != nil {
		return k.rt, nil
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("rtnetlink socket of the host: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		_ = unix.Close(fd) // the error that matters is the one at hand
		return nil, fmt.Errorf("rtnetlink socket of the host: %w", err)
	}
	// Answers without the request, and listings of what was asked for only. Older kernels (before Linux 4.2 and 4.20) send
	// more, which is sorted out here.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	k.rt = &rtSocket{fd: fd, buffer: k.dumpBuffer()}
	return k.rt, nil
}

// dumpBuffer is made once: on a host with many containers or peers, an ADD lists a lot, and memory that is touched first
// costs more than what is read into it.
func (k *Kernel) dumpBuffer() []byte {
	if k.buffer == nil {
		k.buffer = make([]byte, dumpBuffer)
	}
	return k.buffer
}

func (s *rtSocket) close() { _ = unix.Close(s.fd) } // nothing is buffered in the socket

// Batch sends requests, many at a time, and gives the error of each in their order: nil for one that was carried out. A
// request that fails keeps none of the others from being carried out.
func (k *Kernel) Batch(requests []Message) (errs []error, err error) {
	s, err := k.rtnetlink()
	if err != nil {
		return nil, err
	}
	errs = make([]error, len(requests))
	for from := 0; from < len(requests); from += perBatch {
		to := min(from+perBatch, len(requests))
		if err := s.batch(requests[from:to], errs[from:to]); err != nil {
			s.close()
			k.rt = nil // answers may wait in the socket
			return nil, fmt.Errorf("rtnetlink: %w", err)
		}
	}
	return errs, nil
}

// batch sends requests in one datagram. The kernel reports each error, and success of the last alone, which is asked for.
func (s *rtSocket) batch(requests []Message, errs []error) error {
	var datagram []byte
	first := s.seq + 1
	for i, r := range requests {
		if i == len(requests)-1 {
			r.Flags |= unix.NLM_F_ACK
		}
		datagram = s.append(datagram, r)
	}
	if err := unix.Sendto(s.fd, datagram, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	for {
		received, err := s.receive()
		if err != nil {
			return err
		}
		for m, rest, ok := cutMessage(received); ok; m, rest, ok = cutMessage(rest) {
			at := m.Header.Seq - first
			if m.Header.Type != unix.NLMSG_ERROR || at >= uint32(len(requests)) {
				continue
			}
			errs[at] = answer(m)
			if at == uint32(len(requests)-1) {
				return nil
			}
		}
	}
}

// List lists what a request asks for, and calls each with the body of every object, which is good until it returns. The
// error is ErrInterrupted when objects may be missing.
//
// Every body begins with an address family. Asked for one that it does not have (IPv6, with ipv6.disable=1), the kernel
// lists those it has (rtnl_dump_all), which are not passed on.
func (k *Kernel) List(kind uint16, body []byte, each func(body []byte) error) error {
	s, err := k.rtnetlink()
	if err != nil {
		return err
	}
	family := body[0]
	err = s.list(Message{Kind: kind, Flags: unix.NLM_F_DUMP, Body: body}, func(found []byte) error {
		if family != unix.AF_UNSPEC && (len(found) == 0 || found[0] != family) {
			return nil
		}
		return each(found)
	})
	if err != nil {
		s.close()
		k.rt = nil // parts of the listing may wait in the socket
	}
	return err
}

func (s *rtSocket) list(request Message, each func(body []byte) error) error {
	if err := unix.Sendto(s.fd, s.append(nil, request), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	interrupted := false
	for {
		received, err := s.receive()
		if err != nil {
			return err
		}
		for m, rest, ok := cutMessage(received); ok; m, rest, ok = cutMessage(rest) {
			if m.Header.Seq != s.seq {
				continue
			}
			interrupted = interrupted || m.Header.Flags&unix.NLM_F_DUMP_INTR != 0
			switch m.Header.Type {
			case unix.NLMSG_ERROR:
				return answer(m)
			case unix.NLMSG_DONE:
				if interrupted {
					return ErrInterrupted
				}
				return nil
			}
			if err := each(m.Data); err != nil {
				return err
			}
		}
	}
}

// ErrInterrupted says that something changed while it was listed, so that objects may be missing (NLM_F_DUMP_INTR).
var ErrInterrupted = errors.New("changed while it was listed")

// append appends a request with the next sequence number to a datagram.
func (s *rtSocket) append(datagram []byte, m Message) []byte {
	s.seq++
	size := unix.SizeofNlMsghdr + len(m.Body)
	datagram = binary.NativeEndian.AppendUint32(datagram, uint32(size))
	datagram = binary.NativeEndian.AppendUint16(datagram, m.Kind)
	datagram = binary.NativeEndian.AppendUint16(datagram, m.Flags|unix.NLM_F_REQUEST)
	datagram = binary.NativeEndian.AppendUint32(datagram, s.seq)
	datagram = binary.NativeEndian.AppendUint32(datagram, 0)
	datagram = append(datagram, m.Body...)
	return append(datagram, make([]byte, align(size)-size)...)
}

// receive receives one datagram. Its messages are good until the next.
func (s *rtSocket) receive() ([]byte, error) {
	for {
		size, _, err := unix.Recvfrom(s.fd, s.buffer, 0)
		switch {
		case err == nil:
			return s.buffer[:size], nil
		case errors.Is(err, unix.EAGAIN): // a socket of the netlink library
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}, -1)
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return nil, os.NewSyscallError("recvfrom", err)
		}
	}
}

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

// answer is the error that an answer to a request says, nil for success.
func answer(m syscall.NetlinkMessage) error {
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
