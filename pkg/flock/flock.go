// Package flock locks files (flock(2)), with a bounded wait.
package flock

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// ErrBusy says that another process held the lock for as long as the caller would wait.
var ErrBusy = errors.New("locked by another process")

// Lock locks an open file. Closing the descriptor releases the lock, and so does the end of the process. With an error the
// descriptor is closed, or will be. The error is ErrBusy when the context ends, or when the lock was not free for as long
// as the patience.
func Lock(ctx context.Context, fd int, patience time.Duration) error {
	return lock(ctx, fd, unix.LOCK_EX, patience)
}

// LockShared is Lock for one of several that may have the file locked at once, as long as nobody has it by Lock.
func LockShared(ctx context.Context, fd int, patience time.Duration) error {
	return lock(ctx, fd, unix.LOCK_SH, patience)
}

func lock(ctx context.Context, fd, how int, patience time.Duration) error {
	err := unix.Flock(fd, how|unix.LOCK_NB)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EWOULDBLOCK):
		return wait(ctx, fd, how, patience)
	}
	_ = unix.Close(fd) // nothing was written
	return err
}

// wait leaves the queue to the kernel: no polling, first come first served.
func wait(ctx context.Context, fd, how int, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	locked := make(chan error)
	go func() {
		err := flock(fd, how)
		select {
		case locked <- err:
		case <-ctx.Done():
			_ = unix.Close(fd) // nobody waits any more: give the lock to the next one
		}
	}()
	select {
	case err := <-locked:
		if err != nil {
			_ = unix.Close(fd) // nothing was written
		}
		return err
	case <-ctx.Done():
		return ErrBusy
	}
}

func flock(fd, how int) error {
	for {
		if err := unix.Flock(fd, how); err != unix.EINTR {
			return err
		}
	}
}
