package hostlocal

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hold takes the lock as another process would.
func hold(t *testing.T, c Config) (release func()) {
	t.Helper()
	fd, err := unix.Open(filepath.Join(c.DataDir, c.Network, "lock"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Flock(fd, unix.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = unix.Close(fd) } // nothing was written
}

func TestBusyLock(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24"`)
	m := testMachine()
	mustAdd(t, m, c, owner(1))
	release := hold(t, c)
	m.patience = 20 * time.Millisecond
	_, err := m.add(t.Context(), c, owner(2), "")
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), c.DataDir+"/net/lock") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m.patience = time.Hour
	if err := m.release(ctx, c, owner(1)); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
	release()
	// The two that gave up are still in the kernel's queue, and pass the lock on.
	mustAdd(t, testMachine(), c, owner(3))
}

func TestWaitingForLock(t *testing.T) {
	c := testConfig(t, t.TempDir(), `"subnet": "10.1.0.0/24"`)
	mustAdd(t, testMachine(), c, owner(1))
	release := hold(t, c)
	time.AfterFunc(30*time.Millisecond, release)
	mustAdd(t, testMachine(), c, owner(2))
}

func TestConcurrentOwners(t *testing.T) {
	const workers, rounds = 16, 20
	c := testConfig(t, t.TempDir(), `"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]`)
	m := testMachine()
	m.patience = time.Minute
	var holders sync.Map // address → owner
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for range rounds {
				l, err := m.add(t.Context(), c, owner(w), "")
				if err != nil {
					t.Error(err)
					return
				}
				for _, a := range l.Addresses {
					if other, taken := holders.LoadOrStore(a.Prefix, w); taken {
						t.Errorf("%v given to %d and %d", a.Prefix, other, w)
					}
				}
				for _, a := range l.Addresses {
					holders.Delete(a.Prefix)
				}
				if err := m.release(t.Context(), c, owner(w)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if left := reservations(t, c); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
