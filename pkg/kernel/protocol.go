package kernel

import (
	"fmt"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// protocol is the host's socket of a protocol other than rtnetlink, opened on first use. It stays open to the end: closing one of
// netfilter after a deletion, by whomever, waits for an RCU grace period, which by then may have passed, or is left to another process
// (LeaveAside).
func (k *Kernel) protocol(protocol int) (*socket, error) {
	if k.sockets[protocol] == nil {
		s, err := openSocket(protocol)
		if err != nil {
			return nil, fmt.Errorf("%w of the host", err)
		}
		if k.sockets == nil {
			k.sockets = make(map[int]*socket)
		}
		k.sockets[protocol] = s
	}
	return k.sockets[protocol], nil
}

// execute sends a request and receives its replies.
func (k *Kernel) execute(protocol int, request *nl.NetlinkRequest) ([][]byte, error) {
	s, err := k.protocol(protocol)
	if err != nil {
		return nil, err
	}
	all, err := s.ask([]Message{messageOf(request)})
	if err != nil {
		return nil, err
	}
	return all[0].objects, all[0].err
}

// ask sends a request of netfilter and receives its replies.
func (k *Kernel) ask(request *nl.NetlinkRequest) ([][]byte, error) {
	return k.execute(unix.NETLINK_NETFILTER, request)
}

// listNetfilter lists what a request of netfilter asks for, and calls each with every reply, which is good until it returns.
func (k *Kernel) listNetfilter(request netlink.Message, each func(reply []byte)) error {
	s, err := k.protocol(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	m := Message{Kind: uint16(request.Header.Type), Flags: uint16(request.Header.Flags), Body: request.Data}
	return s.list(m, func(reply []byte) error {
		each(reply)
		return nil
	})
}

// transact sends messages to netfilter in one piece, of which the kernel makes a transaction, and receives the answer to
// the message that asks for one, or the first error.
func (k *Kernel) transact(messages []netlink.Message) error {
	s, err := k.protocol(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	s.seq++
	var batch []byte
	for _, m := range messages {
		one := Message{Kind: uint16(m.Header.Type), Flags: uint16(m.Header.Flags), Body: m.Data}
		batch = one.append(batch, s.seq)
	}
	if err := s.write(batch); err != nil {
		return fmt.Errorf("nfnetlink socket of the host: %w", err)
	}
	return s.receiveAnswer()
}

// receiveAnswer passes over what is left of earlier transactions that failed: each of their messages may have an error.
func (s *socket) receiveAnswer() error {
	for {
		answered, answer, err := s.answer()
		if err != nil {
			return fmt.Errorf("nfnetlink socket of the host: %w", err)
		}
		if answered {
			return answer
		}
	}
}
