package flock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func open(t *testing.T, path string) int {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	holder := open(t, path)
	if err := Lock(t.Context(), holder, 0); err != nil {
		t.Fatal(err)
	}
	if err := Lock(t.Context(), open(t, path), time.Millisecond); !errors.Is(err, ErrBusy) {
		t.Errorf("a busy lock: got %v, want ErrBusy", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := Lock(ended, open(t, path), time.Hour); !errors.Is(err, ErrBusy) {
		t.Errorf("a context that has ended: got %v, want ErrBusy", err)
	}
	time.AfterFunc(10*time.Millisecond, func() { _ = unix.Close(holder) })
	// Those who gave up are still in the kernel's queue, and pass the lock on.
	if err := Lock(t.Context(), open(t, path), time.Minute); err != nil {
		t.Errorf("a lock that becomes free: %v", err)
	}
}

func TestLockShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, second := open(t, path), open(t, path)
	if err := errors.Join(LockShared(t.Context(), first, 0), LockShared(t.Context(), second, 0)); err != nil {
		t.Fatalf("two who share: %v", err)
	}
	if err := Lock(t.Context(), open(t, path), time.Millisecond); !errors.Is(err, ErrBusy) {
		t.Errorf("beside those who share: got %v, want ErrBusy", err)
	}
	_ = unix.Close(first)
	time.AfterFunc(10*time.Millisecond, func() { _ = unix.Close(second) })
	if err := Lock(t.Context(), open(t, path), time.Minute); err != nil {
		t.Errorf("after those who shared: %v", err)
	}
}

func TestLockOfNoFile(t *testing.T) {
	if err := Lock(t.Context(), -1, 0); !errors.Is(err, unix.EBADF) {
		t.Errorf("got %v, want %v", err, unix.EBADF)
	}
}

// TestAt: whoever waited for a file that was removed waits on, for the one that has its name now.
func TestAt(t *testing.T) {
	path := t.TempDir()
	dir, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(dir) }()
	remove := func() {
		t.Helper()
		if err := unix.Unlinkat(dir, "lock", 0); err != nil {
			t.Fatal(err)
		}
	}
	first, err := At(t.Context(), dir, "lock", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	waiter := make(chan int)
	go func() {
		fd, err := At(t.Context(), dir, "lock", time.Minute)
		if err != nil {
			t.Error(err)
		}
		waiter <- fd
	}()
	time.Sleep(50 * time.Millisecond) // for the waiter to queue; it need not
	remove()
	second, err := At(t.Context(), dir, "lock", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(first)
	select {
	case <-waiter:
		t.Error("two hold the lock")
	case <-time.After(100 * time.Millisecond):
	}
	_ = unix.Close(second)
	fd := <-waiter
	if named, err := Names(dir, "lock", fd); !named || err != nil {
		t.Errorf("the waiter holds a file that is not there (%v)", err)
	}
	remove()
	if named, err := Names(dir, "lock", fd); named || err != nil {
		t.Errorf("a removed file: named %v, error %v", named, err)
	}
	if err := unix.Rmdir(path); err != nil {
		t.Fatal(err)
	}
	if _, err := At(t.Context(), dir, "lock", time.Minute); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a directory that was removed: got %v", err)
	}
}

func TestAtFollowsNoLink(t *testing.T) {
	path := t.TempDir()
	if err := os.Symlink("elsewhere", filepath.Join(path, "lock")); err != nil {
		t.Fatal(err)
	}
	dir, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(dir) }()
	if _, err := At(t.Context(), dir, "lock", time.Minute); !errors.Is(err, unix.ELOOP) {
		t.Errorf("got %v", err)
	}
}

// TestHolder: who waits in vain is told for whom.
func TestHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if err := Lock(t.Context(), open(t, path), 0); err != nil {
		t.Fatal(err)
	}
	err := Lock(t.Context(), open(t, path), time.Millisecond)
	if want := fmt.Sprintf("locked by process %d (%q", os.Getpid(), filepath.Base(os.Args[0])); !errors.Is(err, ErrBusy) || !strings.HasPrefix(err.Error(), want[:len(want)-1]) {
		t.Errorf("got %v, want %s…", err, want)
	}
}

// Who only tries waits for nothing, and leaves nothing that waits: a descriptor of the lock's file would be closed some time
// later, when its number may be another file's.
func TestTryLeavesNoWaiter(t *testing.T) {
	dir, err := unix.Open(t.TempDir(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(dir) }()
	held, err := Try(dir, "lock")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(held) }()
	before := descriptors(t)
	if _, err := Try(dir, "lock"); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are open, before it were %d", after, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
