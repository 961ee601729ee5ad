package kernel

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ChangeMonitor hears that something has changed, and leaves it to the listener to look at what.
type ChangeMonitor struct{ socket *nl.NetlinkSocket }

// MonitorLinks begins to listen for changes of links and of what is attached to their queues, in the namespace of the caller's thread.
func MonitorLinks() (*ChangeMonitor, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_TC)
	if err != nil {
		return nil, fmt.Errorf("ip monitor link: %w", err)
	}
	return &ChangeMonitor{socket}, nil
}

// Changes calls f when anything has changed, or events were missed, until the context ends, and closes the monitor.
func (m *ChangeMonitor) Changes(ctx context.Context, f func()) error {
	defer m.socket.Close()
	if err := m.wakeUp(); err != nil {
		return err
	}
	for ctx.Err() == nil {
		switch _, _, err := m.socket.Receive(); {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		case err == nil, errors.Is(err, unix.ENOBUFS):
			f()
		default:
			return fmt.Errorf("netlink monitor: %w", err)
		}
	}
	return ctx.Err()
}

// wakeUp has a receiver look at its context once a second: nothing else wakes it.
func (m *ChangeMonitor) wakeUp() error {
	if err := m.socket.SetReceiveTimeout(&unix.Timeval{Sec: 1}); err != nil {
		return fmt.Errorf("netlink monitor: %w", err)
	}
	return nil
}
