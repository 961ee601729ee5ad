package kernel

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"syscall"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// socket is the host's netlink socket of a protocol for messages of our own, opened on first use. It stays open to the end:
// closing one of netfilter after a deletion waits for an RCU grace period, which by then has passed while the link was
// taken down.
func (k *Kernel) socket(protocol int) (*nl.SocketHandle, error) {
	if k.sockets[protocol] == nil {
		socket, err := nl.Subscribe(protocol)
		if err != nil {
			return nil, fmt.Errorf("netlink socket of the host: %w", err)
		}
		if k.sockets == nil {
			k.sockets = make(map[int]*nl.SocketHandle)
		}
		k.sockets[protocol] = &nl.SocketHandle{Socket: socket}
	}
	return k.sockets[protocol], nil
}

// execute sends a request and receives its replies.
func (k *Kernel) execute(protocol int, request *nl.NetlinkRequest) ([][]byte, error) {
	if _, err := k.socket(protocol); err != nil {
		return nil, err
	}
	request.Sockets = k.sockets
	return request.Execute(protocol, 0)
}

// listNetfilter lists what a request of netfilter asks for, and calls each with every reply, which is good until it returns.
// The netlink library takes new memory for each part of a listing.
func (k *Kernel) listNetfilter(request netlink.Message, each func(reply []byte)) error {
	handle, err := k.socket(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	s := rtSocket{fd: handle.Socket.GetFd(), seq: atomic.AddUint32(&handle.Seq, 1) - 1, buffer: k.dumpBuffer()}
	m := Message{Kind: uint16(request.Header.Type), Flags: uint16(request.Header.Flags), Body: request.Data}
	return s.list(m, func(reply []byte) error {
		each(reply)
		return nil
	})
}

// transact sends messages to netfilter in one piece, of which the kernel makes a transaction, and receives the answer to
// the message that asks for one, or the first error.
func (k *Kernel) transact(messages []netlink.Message) error {
	handle, err := k.socket(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	sequence := atomic.AddUint32(&handle.Seq, 1)
	var batch []byte
	for _, m := range messages {
		m.Header.Sequence = sequence
		m.Header.Length = uint32(unix.NLMSG_HDRLEN + len(m.Data))
		text, err := m.MarshalBinary()
		if err != nil {
			return err
		}
		batch = append(batch, text...)
	}
	kernel := &unix.SockaddrNetlink{Family: unix.AF_NETLINK}
	if err := unix.Sendto(handle.Socket.GetFd(), batch, 0, kernel); err != nil {
		return fmt.Errorf("nfnetlink socket of the host: %w", err)
	}
	return receiveAnswer(handle.Socket, sequence)
}

// receiveAnswer passes over what is left of earlier transactions that failed: each of their messages may have an error.
func receiveAnswer(socket *nl.NetlinkSocket, sequence uint32) error {
	for {
		answers, _, err := socket.Receive()
		if err != nil {
			return fmt.Errorf("nfnetlink socket of the host: %w", err)
		}
		for _, m := range answers {
			if m.Header.Seq != sequence || m.Header.Type != unix.NLMSG_ERROR || len(m.Data) < 4 {
				continue
			}
			if errno := int32(binary.NativeEndian.Uint32(m.Data)); errno != 0 {
				return syscall.Errno(-errno)
			}
			return nil
		}
	}
}
