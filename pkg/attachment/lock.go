package attachment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/flock"
)

// patience bounds the wait for a lock, which nobody holds longer than plugins need for a call.
const patience = time.Minute

// locksDir is below libcni's directory. A network's lock is a file of its name.
const locksDir = "fairway/locks"

// lockShared keeps others from removing a network, or from taking an attachment that is not recorded yet for one that is stale.
func (r Runtime) lockShared(ctx context.Context, network string) (unlock func(), err error) {
	return r.lock(network, func(dir int) (int, error) { return flock.AtShared(ctx, dir, network, patience) })
}

// lockAlone keeps everybody else of fairway's from attaching to a network. Other networks are not concerned.
func (r Runtime) lockAlone(ctx context.Context, network string) (unlock func(), err error) {
	return r.lock(network, func(dir int) (int, error) { return flock.At(ctx, dir, network, patience) })
}

func (r Runtime) lock(network string, take func(dir int) (int, error)) (unlock func(), err error) {
	dir, err := r.openDir(locksDir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(dir) }() // nothing was written
	fd, err := take(dir)
	if err != nil {
		return nil, fmt.Errorf("network %s: %w", network, err)
	}
	return func() { _ = unix.Close(fd) }, nil // nothing was written
}

// LockIdle locks those of the networks to which nobody of fairway's attaches at the moment, as long as all of them are looked at together.
func (r Runtime) LockIdle(networks []string) (locked map[string]bool, unlock func(), err error) {
	dir, err := r.openDir(locksDir)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = unix.Close(dir) }() // nothing was written
	var fds []int
	locked = map[string]bool{}
	for _, network := range networks {
		if fd, err := flock.Try(dir, network); err == nil {
			fds, locked[network] = append(fds, fd), true
		}
	}
	return locked, func() {
		for _, fd := range fds {
			_ = unix.Close(fd) // nothing was written
		}
	}, nil
}

// openDir opens a directory below libcni's, and makes it if need be.
func (r Runtime) openDir(name string) (fd int, err error) {
	path := filepath.Join(r.dir(), name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return -1, err
	}
	fd, err = unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// lockNetns lets one process at a time choose an interface's name in a namespace. The lock is on the namespace itself,
// whatever path leads to it, so that it leaves no file.
func lockNetns(ctx context.Context, path string) (unlock func(), err error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	if err := flock.Lock(ctx, fd, patience); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return func() { _ = unix.Close(fd) }, nil // nothing was written
}

// lockAttached locks the network of an attachment as lockShared does, and the namespace, where there still is one.
func (r Runtime) lockAttached(ctx context.Context, a Attachment) (unlock func(), err error) {
	unlockNetwork, err := r.lockShared(ctx, a.Network)
	if err != nil {
		return nil, err
	}
	unlockNetns, err := lockNetns(ctx, a.Path())
	switch {
	case errors.Is(err, flock.ErrBusy):
		unlockNetwork()
		return nil, err
	case err != nil: // the path leads nowhere: no ADD is possible by it
		return unlockNetwork, nil
	}
	return func() {
		unlockNetns()
		unlockNetwork()
	}, nil
}
