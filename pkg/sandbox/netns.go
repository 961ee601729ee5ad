package sandbox

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

const ownNetns = "/proc/thread-self/ns/net"

// newNetns makes a network namespace that lives as long as somebody has it open or is in it.
func newNetns() (*os.File, error) {
	type result struct {
		file *os.File
		err  error
	}
	made := make(chan result)
	go onLostThread(func() {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- result{err: fmt.Errorf("unshare --net: %w", err)}
			return
		}
		file, err := os.Open(ownNetns)
		made <- result{file, err}
	})
	r := <-made
	return r.file, r.err
}

// onLostThread runs f on a thread that ends with it, in whatever namespace it then is. The main thread never ends, and would stay
// there.
func onLostThread(f func()) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	defer runtime.UnlockOSThread()
	done := make(chan struct{})
	go func() {
		defer close(done)
		onLostThread(f)
	}()
	<-done
}
