package kernel

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/flock"
)

// ErrBusy says that another process kept what attachments share for longer than a call may wait.
var ErrBusy = errors.New("another process is attaching or taking back for too long: try again, or look for a plugin that hangs")

// sharingPatience is longer than any call keeps the lock: it makes a few links.
const sharingPatience = 20 * time.Second

// sharing is how this process holds the lock of what attachments of the host share.
type sharing int

const (
	apart   sharing = iota
	sharer          // with others that attach
	takeout         // alone, to take something back
)

// Share keeps others from taking back what attachments share, until release: from the look at a bridge to the port by which
// it is in use, nobody removes it. It is held by many at a time.
//
// The lock is that of the host's network namespace itself (flock(2) on nsfs): it needs no file and no cleaning up, and who
// cannot see the host's links cannot lock them.
func (k *Kernel) Share() (release func(), err error) {
	if k.sharing != apart {
		return func() {}, nil
	}
	if err := k.lockHost(flock.LockShared, sharer); err != nil {
		return nil, err
	}
	return k.unlockHost, nil
}

// TakeBack runs f while nobody attaches, so that what f finds unused stays unused until it is gone. What this process shares
// is given up first.
func (k *Kernel) TakeBack(f func() error) error {
	if k.sharing == takeout {
		return f()
	}
	k.unlockHost()
	if err := k.lockHost(flock.Lock, takeout); err != nil {
		return err
	}
	defer k.unlockHost()
	return f()
}

func (k *Kernel) lockHost(lock func(context.Context, int, time.Duration) error, as sharing) error {
	fd, err := ownNamespace()
	if err != nil {
		return err
	}
	if err := lock(context.Background(), fd, sharingPatience); err != nil {
		if errors.Is(err, flock.ErrBusy) {
			return ErrBusy
		}
		return fmt.Errorf("lock of the host's network namespace: %w", err)
	}
	k.lock, k.sharing = fd, as
	return nil
}

func (k *Kernel) unlockHost() {
	if k.sharing != apart {
		_ = unix.Close(k.lock) // nothing was written
		k.sharing = apart
	}
}

// own is a descriptor of the host's namespace, to be given back by done.
func (k *Kernel) own() (fd int, done func(), err error) {
	if k.sharing != apart {
		return k.lock, func() {}, nil
	}
	if fd, err = ownNamespace(); err != nil {
		return -1, nil, err
	}
	return fd, func() { _ = unix.Close(fd) }, nil // only read
}
