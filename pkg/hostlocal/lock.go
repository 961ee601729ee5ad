package hostlocal

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// lockPatience bounds the wait for the lock: less than the two minutes that a
// kubelet allows for a sandbox, more than a thousand calls before ours take.
const lockPatience = 20 * time.Second

// lockName is upstream's file.
const lockName = "lock"

// takeLock waits for upstream's lock of the network. Closing the descriptor
// releases it, and so does the end of the process.
func takeLock(ctx context.Context, d folder, patience time.Duration) (fd int, err error) {
	fd, err = d.open(lockName, unix.O_RDONLY|unix.O_CREAT)
	if err != nil {
		return -1, err
	}
	err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case err == nil:
		return fd, nil
	case errors.Is(err, unix.EWOULDBLOCK):
		return waitForLock(ctx, d, fd, patience)
	}
	_ = unix.Close(fd) // nothing was written
	return -1, d.fault("flock", lockName, err)
}

// waitForLock leaves the queue to the kernel: no polling, first come first served.
func waitForLock(ctx context.Context, d folder, fd int, patience time.Duration) (int, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	locked := make(chan error)
	go func() {
		err := flock(fd)
		select {
		case locked <- err:
		case <-ctx.Done():
			_ = unix.Close(fd) // nobody waits any more: give the lock to the next one
		}
	}()
	select {
	case err := <-locked:
		if err == nil {
			return fd, nil
		}
		_ = unix.Close(fd) // nothing was written
		return -1, d.fault("flock", lockName, err)
	case <-ctx.Done():
		return -1, problemf(ErrBusy, "another process held %s/lock for %v: try again, or look for an IPAM plugin that hangs",
			d.path, time.Since(began).Round(time.Millisecond))
	}
}

func flock(fd int) error {
	for {
		if err := unix.Flock(fd, unix.LOCK_EX); err != unix.EINTR {
			return err
		}
	}
}
