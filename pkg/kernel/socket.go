package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// socket is a netlink socket for messages of our own. It sends many in one datagram, and waits for their answers in the system
// call: the netlink library waits by the runtime's poller, asks for its own address each time, and takes 64 KiB of stack for
// each answer, which together cost more than most requests.
type socket struct {
	fd     int
	seq    uint32
	buffer []byte
}

// answerSize is what the kernel makes the parts of a listing as large as, at most (netlink_dump, 32 KiB), and more than any
// single answer. Memory that nothing is read into is not touched.
const answerSize = 1 << 16

// openSocket opens a socket of a protocol in the namespace that the thread is in.
func openSocket(protocol int) (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	// Answers without the request, and listings of what was asked for only. Older kernels (before Linux 4.2 and 4.20) send
	// more, which is sorted out here.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	if protocol == unix.NETLINK_ROUTE {
		_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	}
	return &socket{fd: fd, buffer: buffers.Get().([]byte)}, nil
}

// buffers are those of sockets that were closed: who looks into thousands of namespaces opens one in each.
var buffers = sync.Pool{New: func() any { return make([]byte, answerSize) }}

func (s *socket) close() {
	_ = unix.Close(s.fd) // nothing is buffered in the socket
	if s.buffer != nil {
		buffers.Put(s.buffer) //nolint:staticcheck // a slice's header is nothing beside what it refers to
	}
	s.buffer = nil
}

// answers is what a request has brought: the bodies of the objects that it asked for, or its error.
type answers struct {
	objects [][]byte
	err     error
	ended   bool
}

// ask sends requests in one datagram, each of which is answered: one that changes something asks for an acknowledgement
// (NLM_F_ACK). At most one may list.
func (s *socket) ask(requests []Message) ([]answers, error) {
	first := s.seq + 1
	if err := s.send(requests...); err != nil {
		return nil, err
	}
	all, open := make([]answers, len(requests)), len(requests)
	for open > 0 {
		received, err := s.receive()
		if err != nil {
			return nil, err
		}
		for m, rest, ok := cutMessage(received); ok; m, rest, ok = cutMessage(rest) {
			at := m.Header.Seq - first
			if at >= uint32(len(all)) || all[at].ended {
				continue
			}
			a := &all[at]
			if m.Header.Flags&unix.NLM_F_DUMP_INTR != 0 {
				a.err = ErrInterrupted
			}
			switch {
			case m.Header.Type == unix.NLMSG_DONE:
				a.ended = true
			case m.Header.Type == unix.NLMSG_ERROR:
				a.ended = true
				if err := errorIn(m); err != nil {
					a.err = err
				}
			default:
				a.objects = append(a.objects, slices.Clone(m.Data))
				a.ended = m.Header.Flags&unix.NLM_F_MULTI == 0
			}
			if a.ended {
				open--
			}
		}
	}
	return all, nil
}

// batch sends requests in one datagram. The kernel reports each error, and success of the last alone, which is asked for.
func (s *socket) batch(requests []Message, errs []error) error {
	requests = slices.Clone(requests)
	requests[len(requests)-1].Flags |= unix.NLM_F_ACK
	first := s.seq + 1
	if err := s.send(requests...); err != nil {
		return err
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
			errs[at] = errorIn(m)
			if at == uint32(len(requests)-1) {
				return nil
			}
		}
	}
}

// list calls each with the body of every object that a request lists, which is good until it returns.
func (s *socket) list(request Message, each func(body []byte) error) error {
	if err := s.send(request); err != nil {
		return err
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
				return errorIn(m)
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

// send sends requests in one datagram. The kernel is where a netlink socket sends to unless it says otherwise.
func (s *socket) send(requests ...Message) error {
	var datagram []byte
	for _, m := range requests {
		s.seq++
		datagram = m.append(datagram, s.seq)
	}
	return s.write(datagram)
}

func (s *socket) write(datagram []byte) error {
	for {
		err := unix.Send(s.fd, datagram, 0) // what a trace shows of it is a request
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("sendto", err)
		}
	}
}

// append appends the request to a datagram.
func (m Message) append(datagram []byte, seq uint32) []byte {
	size := unix.SizeofNlMsghdr + len(m.Body)
	datagram = binary.NativeEndian.AppendUint32(datagram, uint32(size))
	datagram = binary.NativeEndian.AppendUint16(datagram, m.Kind)
	datagram = binary.NativeEndian.AppendUint16(datagram, m.Flags|unix.NLM_F_REQUEST)
	datagram = binary.NativeEndian.AppendUint32(datagram, seq)
	datagram = binary.NativeEndian.AppendUint32(datagram, 0)
	datagram = append(datagram, m.Body...)
	return append(datagram, make([]byte, align(size)-size)...)
}

// receive receives one datagram. Its messages are good until the next.
func (s *socket) receive() ([]byte, error) {
	for {
		size, _, err := unix.Recvfrom(s.fd, s.buffer, unix.MSG_TRUNC) // gives the whole size
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, os.NewSyscallError("recvfrom", err)
		case size > len(s.buffer):
			return nil, fmt.Errorf("answer of %d bytes: %w", size, unix.EMSGSIZE)
		}
		return s.buffer[:size], nil
	}
}

// messageOf is a request of the netlink library.
func messageOf(request *nl.NetlinkRequest) Message {
	return Message{Kind: request.Type, Flags: request.Flags, Body: request.Serialize()[unix.SizeofNlMsghdr:]}
}
