package attachment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds the wait for a lock, which nobody holds longer than plugins need for a call.
const patience = time.Minute

// lockShared keeps Collect from taking an attachment that is not in the cache yet for one that is stale.
func (r Runtime) lockShared(ctx context.Context) (unlock func(), err error) {
	return r.lockCache(ctx, unix.LOCK_SH)
}

func (r Runtime) lockCache(ctx context.Context, how int) (unlock func(), err error) {
	if err := os.MkdirAll(r.results(), 0o700); err != nil { // libcni's mode
		return nil, fmt.Errorf("CNI's result cache: %w", err)
	}
	return lock(ctx, r.results(), how)
}

// lockNetns lets one process at a time choose an interface's name in a namespace. The lock is on the namespace itself,
// whatever path leads to it, so that it leaves no file.
func lockNetns(ctx context.Context, path string) (unlock func(), err error) {
	return lock(ctx, path, unix.LOCK_EX)
}

// lock takes an advisory lock of the file at path, for this process until unlock or its end.
func lock(ctx context.Context, path string, how int) (unlock func(), err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	locked := make(chan error)
	go func() {
		err := flock(int(file.Fd()), how)
		select {
		case locked <- err:
		case <-ctx.Done():
			file.Close() // nobody waits any more: give the lock to the next one
		}
	}()
	select {
	case err := <-locked:
		if err == nil {
			return func() { file.Close() }, nil
		}
		file.Close()
		return nil, fmt.Errorf("flock %s: %w", path, err)
	case <-ctx.Done():
		return nil, fmt.Errorf("%s is locked by another process: %w", path, ctx.Err())
	}
}

func flock(fd, how int) error {
	for {
		if err := unix.Flock(fd, how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
