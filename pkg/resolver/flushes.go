package resolver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/nameport"
	"github.com/fairway-cni/fairway/pkg/names"
)

// flushes reports the namespaces in which our rules were removed, by one socket for all of them: the kernel passes on the
// events of every namespace that has a number here (netlink(7), NETLINK_LISTEN_ALL_NSID). Its methods do nothing when nil.
type flushes struct {
	socket *os.File
	routes *netlink.Handle

	mu      sync.Mutex
	numbers map[int32]names.Space
}

// openFlushes subscribes to the nftables of all namespaces.
func openFlushes() (*flushes, error) {
	const netlinkListenAllNSID = 8 // linux/netlink.h
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("nfnetlink socket: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, netlinkListenAllNSID, 1),
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, unix.NFNLGRP_NFTABLES))
	if err != nil {
		_ = unix.Close(fd) // nothing was written
		return nil, fmt.Errorf("nft monitor in all namespaces: %w", err)
	}
	routes, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		_ = unix.Close(fd) // nothing was written
		return nil, fmt.Errorf("rtnetlink socket: %w", err)
	}
	return &flushes{socket: os.NewFile(uintptr(fd), "nfnetlink"), routes: routes, numbers: map[int32]names.Space{}}, nil
}

func (f *flushes) close() {
	if f != nil {
		_ = f.socket.Close() // nothing is buffered
		f.routes.Close()
	}
}

// watch begins to report a namespace. One that cannot be is found by the audit.
func (f *flushes) watch(space names.Space, n names.Netns) {
	if f == nil {
		return
	}
	err := visit(n, func(fd int) error {
		number, err := f.number(fd)
		if err == nil {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.numbers[number] = space
		}
		return err
	})
	if err != nil && !errors.Is(err, kernel.ErrNoNamespace) {
		slog.Warn("removed redirects for names are found by the audit only", "netns", n.Path, "error", err)
	}
}

// number is the host's for a namespace, and gives it one if it has none.
func (f *flushes) number(fd int) (int32, error) {
	const none, any = -1, -1
	f.mu.Lock()
	defer f.mu.Unlock()
	number, err := f.routes.GetNetNsIdByFd(fd)
	if err == nil && number == none {
		if err = f.routes.SetNetNsIdByFd(fd, any); err == nil || errors.Is(err, unix.EEXIST) {
			number, err = f.routes.GetNetNsIdByFd(fd)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("ip netns set: %w", err)
	}
	return int32(number), nil
}

func (f *flushes) forget(space names.Space) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for number, s := range f.numbers {
		if s == space {
			delete(f.numbers, number)
		}
	}
}

// report calls each with a namespace whose rules may have gone, until the context ends; not more often than a container could
// keep us busy by removing them again and again. An empty list means any.
func (f *flushes) report(ctx context.Context, each func([]names.Space)) error {
	if f == nil {
		return nil
	}
	defer context.AfterFunc(ctx, func() { _ = f.socket.SetDeadline(time.Now()) })() // to wake the reader
	const interval = 100 * time.Millisecond
	seen := make(chan names.Space, 1024)
	go func() {
		for space := range seen {
			some := map[names.Space]bool{space: true}
			for len(seen) > 0 {
				some[<-seen] = true
			}
			if some[names.Space{}] {
				each(nil)
			} else {
				list := make([]names.Space, 0, len(some))
				for s := range some {
					list = append(list, s)
				}
				each(list)
			}
			time.Sleep(interval)
		}
	}()
	defer close(seen)
	conn, err := f.socket.SyscallConn()
	if err != nil {
		return err
	}
	buffer, control := make([]byte, 1<<16), make([]byte, 256)
	for ctx.Err() == nil {
		var n, controlled int
		var failed error
		err := conn.Read(func(fd uintptr) bool {
			n, controlled, _, _, failed = unix.Recvmsg(int(fd), buffer, control, 0)
			return !errors.Is(failed, unix.EAGAIN)
		})
		if err != nil {
			return ctx.Err()
		}
		var space names.Space
		switch {
		case errors.Is(failed, unix.ENOBUFS): // events were lost, of whatever namespace
		case failed != nil:
			continue
		default:
			var ours bool
			if space, ours = f.origin(control[:controlled]); !ours || !removesOurs(buffer[:n]) {
				continue
			}
		}
		select {
		case seen <- space:
		default: // there is more than enough to look at, and the audit comes
		}
	}
	return ctx.Err()
}

// origin is the namespace that an event is from.
func (f *flushes) origin(control []byte) (names.Space, bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return names.Space{}, false
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_NETLINK && len(m.Data) >= 4 {
			f.mu.Lock()
			defer f.mu.Unlock()
			space, ok := f.numbers[int32(binary.NativeEndian.Uint32(m.Data))]
			return space, ok
		}
	}
	return names.Space{}, false
}

// removesOurs says whether one of the messages removes a thing of our table.
func removesOurs(messages []byte) bool {
	name := append([]byte(nameport.Table), 0)
	for len(messages) >= unix.NLMSG_HDRLEN {
		length := int(binary.NativeEndian.Uint32(messages))
		if length < unix.NLMSG_HDRLEN || length > len(messages) {
			return false
		}
		kind := binary.NativeEndian.Uint16(messages[4:])
		switch kind {
		case unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_DELTABLE, unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_DELCHAIN,
			unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_DELRULE:
			if bytes.Contains(messages[unix.NLMSG_HDRLEN:length], name) {
				return true
			}
		}
		messages = messages[min(len(messages), (length+3)&^3):]
	}
	return false
}
