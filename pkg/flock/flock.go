// Package flock locks files (flock(2)), with a bounded wait.
package flock

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// ErrBusy says that another process held the lock for as long as the caller would wait. Errors that wrap it name that one.
var ErrBusy = errors.New("locked by another process")

// At locks the file of a name in an open directory, and makes it if need be, for its owner alone. It follows no symbolic link. When it
// returns, the locked file is the one that has the name: a file that was removed meanwhile locks nobody out. The error is
// fs.ErrNotExist if the directory itself was removed, and else as with Lock.
func At(ctx context.Context, dir int, name string, patience time.Duration) (fd int, err error) {
	return at(ctx, dir, name, unix.LOCK_EX, patience)
}

// AtShared is At for one of several, as LockShared is.
func AtShared(ctx context.Context, dir int, name string, patience time.Duration) (fd int, err error) {
	return at(ctx, dir, name, unix.LOCK_SH, patience)
}

// Try is At without a wait. The error is ErrBusy when another process has the lock.
func Try(dir int, name string) (fd int, err error) {
	return at(context.Background(), dir, name, unix.LOCK_EX, 0)
}

// at measures the time itself, as a context with a deadline has a timer even where nobody waits: as long as there is one, the
// runtime keeps a thread in epoll_wait(2), which then wakes for every answer of netlink that the process gets.
func at(ctx context.Context, dir int, name string, how int, patience time.Duration) (fd int, err error) {
	end := time.Now().Add(patience)
	for {
		fd, err := openat(dir, name)
		if err != nil {
			return -1, err
		}
		if err := lock(ctx, fd, how, time.Until(end)); err != nil {
			return -1, err
		}
		named, err := Names(dir, name, fd)
		if named {
			return fd, nil
		}
		_ = unix.Close(fd) // nothing was written
		if err != nil {
			return -1, err
		}
		if ctx.Err() != nil || !time.Now().Before(end) {
			return -1, ErrBusy
		}
	}
}

// Names says whether a name in a directory is still that of an open file.
func Names(dir int, name string, fd int) (bool, error) {
	var locked, there unix.Stat_t
	if err := unix.Fstat(fd, &locked); err != nil {
		return false, err
	}
	err := unix.Fstatat(dir, name, &there, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil && locked.Dev == there.Dev && locked.Ino == there.Ino, err
}

func openat(dir int, name string) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

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
	case errors.Is(err, unix.EWOULDBLOCK) && patience > 0:
		return wait(ctx, fd, how, patience)
	case errors.Is(err, unix.EWOULDBLOCK):
		// At once: a waiter would have the lock later, if only for a moment.
		var file unix.Stat_t
		if err = unix.Fstat(fd, &file); err == nil {
			err = heldBy(file)
		}
	}
	_ = unix.Close(fd) // nothing was written
	return err
}

// wait leaves the queue to the kernel: no polling, first come first served.
func wait(ctx context.Context, fd, how int, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var file unix.Stat_t
	if err := unix.Fstat(fd, &file); err != nil {
		_ = unix.Close(fd) // nothing was written
		return err
	}
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
		return heldBy(file)
	}
}

func flock(fd, how int) error {
	for {
		if err := unix.Flock(fd, how); err != unix.EINTR {
			return err
		}
	}
}
