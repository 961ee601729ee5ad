package hostlocal

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/flock"
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
	began := time.Now()
	err = flock.Lock(ctx, fd, patience)
	switch {
	case err == nil:
		return fd, nil
	case errors.Is(err, flock.ErrBusy):
		return -1, problemf(ErrBusy, "another process held %s/%s for %v: try again, or look for an IPAM plugin that hangs",
			d.path, lockName, time.Since(began).Round(time.Millisecond))
	}
	return -1, d.fault("flock", lockName, err)
}
