package kernel

import (
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/aside"
)

// WaitAside has processes of their own wait for the grace periods behind the deletion of links and of what nftables has, from now
// on: for a process that exits before long. LinkDel returns when the link is gone from its namespace.
func (k *Kernel) WaitAside() {
	k.LeaveAside()
	k.Host.waits = k.waitAside
	if k.Container != nil {
		k.Container.waits = k.waitAside
	}
}

// LeaveAside has a process of its own close the socket of netfilter, also where nothing was deleted by it: who closes one while anybody's
// deletions are being finished waits for a grace period, and so do all transactions. It is for a process that exits when it has closed
// the kernel.
func (k *Kernel) LeaveAside() { k.aside = true }

// waitAside has a process send a request, if there is one. It holds the socket of netfilter as well: whoever closes that last waits
// for the end of what was deleted by it.
func (k *Kernel) waitAside(to int, request []byte) (pidfd int, err error) {
	task := aside.Task{To: to, Data: request, Last: len(request) == 0}
	if len(request) > 0 {
		task.Keep = append(task.Keep, to)
	}
	s := k.sockets[unix.NETLINK_NETFILTER]
	if s != nil {
		task.Keep, task.Grace = append(task.Keep, s.fd), true
	}
	pidfd, err = aside.Start(task)
	k.held = k.held || s != nil && err == nil
	return pidfd, err
}

// leave has a process close the socket of netfilter last. Without one, this process waits.
func (k *Kernel) leave() {
	if !k.aside || k.held || k.sockets[unix.NETLINK_NETFILTER] == nil {
		return
	}
	if pidfd, err := k.waitAside(-1, nil); err == nil {
		_ = unix.Close(pidfd) // nobody waits for it
	}
}

// deleteAside deletes a link, and returns when the kernel says that it is gone from its namespace, or that it cannot be deleted.
func (n *Namespace) deleteAside(index int) error {
	request := Message{Kind: unix.RTM_DELLINK, Flags: unix.NLM_F_ACK, Body: linkHeader(index)}
	gone, err := n.deletionsOf(index)
	if err != nil {
		return n.Execute(request)
	}
	defer gone.close()
	answered := false
	var answer error
	err = n.withSocket(func(s *socket) (err error) {
		answered, answer, err = n.sendAside(s, request, gone)
		return err
	})
	if err == nil && !answered {
		return n.Execute(request) // which says ENODEV when that process came as far
	}
	return errors.Join(err, answer)
}

// sendAside has a process send a request to delete a link, and gives the kernel's answer. answered is false when there is no such
// process, or it has ended without one.
func (n *Namespace) sendAside(s *socket, request Message, gone *socket) (answered bool, answer, err error) {
	s.seq++
	pidfd, err := n.waits(s.fd, request.append(nil, s.seq))
	if err != nil {
		return false, nil, nil
	}
	defer func() { _ = unix.Close(pidfd) }() // only looked at
	for {
		ready, err := poll(s.fd, gone.fd, pidfd)
		switch {
		case err != nil:
			return false, nil, err
		case ready[0]:
			if answered, answer, err = s.answer(); answered || err != nil {
				return answered, answer, err
			}
		case ready[1]:
			return true, nil, nil
		case ready[2]:
			return false, nil, nil
		}
	}
}

// answer receives one datagram, and gives the answer to the last request if it is in there. That to an earlier one may come before.
func (s *socket) answer() (answered bool, answer, err error) {
	received, err := s.receive()
	if err != nil {
		return false, nil, err
	}
	for m, rest, ok := cutMessage(received); ok; m, rest, ok = cutMessage(rest) {
		if m.Header.Seq == s.seq && m.Header.Type == unix.NLMSG_ERROR {
			return true, errorIn(m), nil
		}
	}
	return false, nil, nil
}

// poll waits until one of some descriptors is readable.
func poll(fds ...int) (readable []bool, err error) {
	polled := make([]unix.PollFd, len(fds))
	for i, fd := range fds {
		polled[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	for {
		_, err := unix.Poll(polled, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		readable = make([]bool, len(fds))
		for i := range polled {
			readable[i] = polled[i].Revents != 0
		}
		return readable, os.NewSyscallError("poll", err)
	}
}

// deletionsOf is a socket that becomes readable when a link is gone from the namespace.
func (n *Namespace) deletionsOf(index int) (s *socket, err error) {
	err = n.Do(func() (err error) {
		s, err = openSocket(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, deletionFilter(index))
	if err == nil { // by which the socket gets an address: without, it is passed over (nlmsg_notify, exclude_portid 0)
		err = unix.Bind(s.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.RTNLGRP_LINK - 1)})
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// deletionFilter lets the news pass that a link is deleted. A packet filter reads numbers in network byte order.
func deletionFilter(index int) *unix.SockFprog {
	const load, unless, end = unix.BPF_LD | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	deleted := binary.NativeEndian.AppendUint16(nil, unix.RTM_DELLINK)
	link := binary.NativeEndian.AppendUint32(nil, uint32(index))
	filter := []unix.SockFilter{
		{Code: load | unix.BPF_H, K: 4}, {Code: unless, Jf: 5, K: uint32(binary.BigEndian.Uint16(deleted))}, // nlmsg_type
		{Code: load | unix.BPF_B, K: 16}, {Code: unless, Jf: 3, K: unix.AF_UNSPEC}, // ifi_family: a bridge tells of ports that leave it
		{Code: load | unix.BPF_W, K: 20}, {Code: unless, Jf: 1, K: binary.BigEndian.Uint32(link)}, // ifi_index
		{Code: end, K: 1 << 16}, {Code: end, K: 0},
	}
	return &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
}
