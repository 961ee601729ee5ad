package testnet

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// RunAlone is Run for tests that look at all processes there are: they see no others than their own, of which nobody knows what they
// hold, or whether that may be read.
func RunAlone(m *testing.M) {
	flag.Parse()
	status, err := runAlone(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testnet:", err)
		status = 1
	}
	os.Exit(status)
}

func runAlone(m *testing.M) (status int, err error) {
	if err := Isolate(); err != nil {
		return 1, err
	}
	if os.Getpid() == 1 {
		if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
			return 1, fmt.Errorf("mount -t proc proc /proc: %w", err)
		}
		return m.Run(), nil
	}
	child := exec.Command("/proc/self/exe", os.Args[1:]...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the kernel sends the parent-death signal when the starting thread ends
	var exit *exec.ExitError
	if err := child.Run(); err != nil && !errors.As(err, &exit) {
		return 1, fmt.Errorf("in a process namespace: %w", err)
	}
	return child.ProcessState.ExitCode(), nil
}
