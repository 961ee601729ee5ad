// Package testnet gives tests, the demo and the benchmark a network of their own: the program runs in fresh network and
// mount namespaces, makes the namespaces of its hosts and containers inside, and leaves nothing on the machine.
//
// Root is not needed: without it a user namespace is made as well (as `unshare -Urnm` does).
package testnet

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// insideVar marks the process that already runs in namespaces of its own.
const insideVar = "FAIRWAY_TESTNET"

// Run runs the tests of a package in namespaces of their own and exits. Call it from TestMain.
// Fuzzing stays outside: its workers inherit pipes that a second process would lose, and fuzz targets are pure.
func Run(m *testing.M) {
	flag.Parse()
	if !fuzzing() {
		if err := Isolate(); err != nil {
			fmt.Fprintln(os.Stderr, "testnet:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func fuzzing() bool {
	target, worker := flag.Lookup("test.fuzz"), flag.Lookup("test.fuzzworker")
	return target != nil && target.Value.String() != "" || worker != nil && worker.Value.String() == "true"
}

// Isolate runs the rest of the program in new network and mount namespaces: it executes the program again there, exits
// with that process's status, and returns in the new process only. There, mounts are private, /run and /var/lib/cni are
// empty, lo is up, and PATH leads to where Debian has nft and the like, as an ordinary user's does not.
func Isolate() error {
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin"); err != nil {
		return err
	}
	if os.Getenv(insideVar) == "" {
		return reexec()
	}
	return prepare()
}

func reexec() error {
	child := exec.Command("/proc/self/exe", os.Args[1:]...)
	child.Env = append(os.Environ(), insideVar+"=1")
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		child.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		child.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		child.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	// The kernel sends the parent-death signal when the starting thread ends, so that thread has to stay.
	runtime.LockOSThread()
	if err := child.Start(); err != nil {
		return fmt.Errorf("new namespaces: %w", err)
	}
	stops := make(chan os.Signal, 1)
	signal.Notify(stops, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		for s := range stops {
			_ = child.Process.Signal(s) // the child may have ended already
		}
	}()
	err := child.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		os.Exit(0)
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		os.Exit(exit.ExitCode())
	}
	return fmt.Errorf("the process in the new namespaces: %w", err)
}

func prepare() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mount --make-rprivate /: %w", err)
	}
	// The second one may have to be made on the first.
	for _, dir := range []string{"/run", "/var/lib/cni"} {
		if err := Hide(dir); err != nil {
			return err
		}
	}
	if err := os.Mkdir(netnsDir, 0o755); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("ip link show lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("ip link set lo up: %w", err)
	}
	return askForIPv6()
}

// askForIPv6 has package net find out what it can use, which it does once, by sockets on lo: in a namespace of a test, whose lo may be
// down, it would find no IPv6 for the rest of the process.
func askForIPv6() error {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		return err
	}
	return l.Close()
}
