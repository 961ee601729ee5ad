package testnet

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// NewHost gives a test a host of its own: the test's goroutine moves to a thread in a new network namespace, with lo up,
// and that namespace ends with the test. What the test starts on other goroutines, subtests included, runs outside,
// unless it goes through Do.
func NewHost(t testing.TB) *Namespace {
	t.Helper()
	// Never unlocked, so that the runtime ends the thread, and with it the namespace, when the test's goroutine ends.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("unshare --net: %v", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatalf("ip link show lo: %v", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatalf("ip link set lo up: %v", err)
	}
	return &Namespace{Path: fmt.Sprintf("/proc/%d/task/%d/ns/net", unix.Getpid(), unix.Gettid())}
}

// HasIPv6 says whether the kernel has IPv6: it may be booted without (ipv6.disable=1).
func HasIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return err == nil
}
