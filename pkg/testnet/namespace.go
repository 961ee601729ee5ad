package testnet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// netnsDir is where `ip netns` looks; Isolate puts an empty one in its place.
const netnsDir = "/run/netns"

// Namespace is a network namespace, bound to a file as container runtimes do.
type Namespace struct {
	// Path is the bound file, usable as CNI_NETNS.
	Path string
	// mount and uts are files of further namespaces that belong to it. Empty: the program's are used.
	mount, uts string
}

// New makes a network namespace, named as `ip netns` names them. Its lo is down, as in a new container.
func New(name string) (*Namespace, error) {
	n := &Namespace{Path: filepath.Join(netnsDir, name)}
	file, err := os.OpenFile(n.Path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return nil, err
	}
	_ = file.Close() // only its name is used
	if err := onNewThread(func() error { return unshareTo(n.Path) }); err != nil {
		return nil, fmt.Errorf("ip netns add %s: %w", name, err)
	}
	return n, nil
}

func unshareTo(path string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	return unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
}

// onNewThread runs f on a thread that ends with it, so that whatever namespace f entered ends there too.
func onNewThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread with the goroutine
		if unix.Gettid() == unix.Getpid() {
			// But for the main thread, which would stay in the namespace until the end of the process.
			defer runtime.UnlockOSThread()
			done <- onNewThread(f)
			return
		}
		done <- f()
	}()
	return <-done
}

// Close removes the namespace; its links go with it, once no process is left inside.
func (n *Namespace) Close() error {
	if err := unix.Unmount(n.Path, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("umount %s: %w", n.Path, err)
	}
	return os.Remove(n.Path)
}

// Do runs f on a thread inside the namespace. What f starts on other goroutines runs outside.
func (n *Namespace) Do(f func() error) error {
	return onNewThread(func() error {
		if err := n.enter(); err != nil {
			return err
		}
		return f()
	})
}

// enter moves the calling thread, which has to end with what it does there.
func (n *Namespace) enter() error {
	if n.mount != "" {
		// A thread that shares its root and working directory with others cannot change its mounts (setns(2)).
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
	}
	for _, ns := range []struct {
		path string
		kind int
	}{{n.Path, unix.CLONE_NEWNET}, {n.uts, unix.CLONE_NEWUTS}, {n.mount, unix.CLONE_NEWNS}} {
		if ns.path == "" {
			continue
		}
		if err := setns(ns.path, ns.kind); err != nil {
			return err
		}
	}
	return nil
}

func setns(path string, kind int) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := unix.Setns(int(file.Fd()), kind); err != nil {
		return fmt.Errorf("setns %s: %w", path, err)
	}
	return nil
}

// Command prepares a program to run inside the namespace.
func (n *Namespace) Command(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append(append(n.entrance(), "--", name), args...)...)
}

// entrance is how nsenter finds the namespace.
func (n *Namespace) entrance() []string {
	in := []string{"--net=" + n.Path}
	if n.uts != "" {
		in = append(in, "--uts="+n.uts)
	}
	if n.mount != "" {
		in = append(in, "--mount="+n.mount)
	}
	return in
}

// NewNS makes a namespace for one test, named after it and removed with it.
func NewNS(t testing.TB, suffix string) *Namespace {
	t.Helper()
	clean := strings.Map(func(r rune) rune {
		if r == '/' || r == ' ' {
			return '-'
		}
		return r
	}, t.Name())
	n, err := New(clean + "-" + suffix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil && !errors.Is(err, fs.ErrNotExist) { // the test may have closed it
			t.Errorf("closing %s: %v", n.Path, err)
		}
	})
	return n
}

// Sh runs a command in the test's own namespace and gives back what it printed, without the last newline.
func Sh(t testing.TB, name string, args ...string) string {
	t.Helper()
	return output(t, exec.Command(name, args...))
}

// Sh runs a command inside the namespace and gives back what it printed, without the last newline.
func (n *Namespace) Sh(t testing.TB, name string, args ...string) string {
	t.Helper()
	return output(t, n.Command(name, args...))
}

func output(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}
