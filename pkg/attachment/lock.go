package attachment

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/flock"
)

// patience bounds the wait for a lock, which nobody holds longer than plugins need for a call.
const patience = time.Minute

// locker is flock.Lock or flock.LockShared.
type locker func(ctx context.Context, fd int, patience time.Duration) error

// lockShared keeps Collect from taking an attachment that is not in the cache yet for one that is stale.
func (r Runtime) lockShared(ctx context.Context) (unlock func(), err error) {
	return r.lockCache(ctx, flock.LockShared)
}

func (r Runtime) lockCache(ctx context.Context, take locker) (unlock func(), err error) {
	if err := os.MkdirAll(r.results(), 0o700); err != nil { // libcni's mode
		return nil, fmt.Errorf("CNI's result cache: %w", err)
	}
	return lock(ctx, r.results(), take)
}

// lockNetns lets one process at a time choose an interface's name in a namespace. The lock is on the namespace itself,
// whatever path leads to it, so that it leaves no file.
func lockNetns(ctx context.Context, path string) (unlock func(), err error) {
	return lock(ctx, path, flock.Lock)
}

// lock locks the file at a path, for this process until unlock or its end.
func lock(ctx context.Context, path string, take locker) (unlock func(), err error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	if err := take(ctx, fd, patience); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return func() { _ = unix.Close(fd) }, nil // nothing was written
}
