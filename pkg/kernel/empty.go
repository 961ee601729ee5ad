package kernel

import (
	"fmt"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// InEmpty runs f with a handle of a network namespace that has nothing but its loopback, and ends with f: to find out what the
// kernel can do, without a trace on the host.
func InEmpty(f func(*netlink.Handle) error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and the namespace with it
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("unshare: %w", err)
			}
			handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
			if err != nil {
				return fmt.Errorf("rtnetlink socket of an empty namespace: %w", err)
			}
			defer handle.Close()
			return f(handle)
		}()
	}()
	return <-done
}
