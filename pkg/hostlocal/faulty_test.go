package hostlocal

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// faulty is a kernel of which one call fails, or is the last that the process makes.
type faulty struct {
	system
	at    int   // the call at fault, from 1; 0: none
	fault error // what it gives; errKilled: the process ends before it
	calls int
	full  bool // nothing that needs room works
	short bool // the call at fault writes half of what it should
}

// errKilled is what a process never sees.
const errKilled = unix.ENOTRECOVERABLE

func (f *faulty) String() string {
	switch {
	case f.full:
		return "on a full disk"
	case f.at == 0:
		return ""
	case f.short:
		return fmt.Sprintf("with a short write at %d", f.at)
	case f.fault == errKilled:
		return fmt.Sprintf("killed at %d", f.at)
	}
	return fmt.Sprintf("with %q at %d", f.fault, f.at)
}

// hit says whether the fault was met.
func (f *faulty) hit() bool { return f.at > 0 && f.calls >= f.at }

func (f *faulty) killed() bool { return f.fault == errKilled && f.hit() }

// next counts a call. What a killed process would have called has no effect.
func (f *faulty) next(needsRoom bool) error {
	f.calls++
	switch {
	case f.at > 0 && f.calls == f.at && !f.short, f.killed() && f.calls > f.at:
		return f.fault
	case f.full && needsRoom:
		return unix.ENOSPC
	}
	return nil
}

func (f *faulty) openat(dir int, name string, flags int, mode uint32) (int, error) {
	create := flags&unix.O_CREAT != 0 || flags&unix.O_TMPFILE == unix.O_TMPFILE
	if err := f.next(create); err != nil {
		return -1, err
	}
	return f.system.openat(dir, name, flags, mode)
}

func (f *faulty) lock(ctx context.Context, dir int, name string, patience time.Duration) (int, error) {
	if err := f.next(false); err != nil {
		return -1, err
	}
	return f.system.lock(ctx, dir, name, patience)
}

func (f *faulty) holds(dir int, name string, fd int) bool {
	return f.next(false) == nil && f.system.holds(dir, name, fd)
}

func (f *faulty) names(fd int) ([]string, error) {
	if err := f.next(false); err != nil {
		return nil, err
	}
	return f.system.names(fd)
}

func (f *faulty) fstat(fd int, st *unix.Stat_t) error {
	if err := f.next(false); err != nil {
		return err
	}
	return f.system.fstat(fd, st)
}

func (f *faulty) fstatat(dir int, name string, st *unix.Stat_t) error {
	if err := f.next(false); err != nil {
		return err
	}
	return f.system.fstatat(dir, name, st)
}

func (f *faulty) mkdirat(dir int, name string) error {
	if err := f.next(true); err != nil {
		return err
	}
	return f.system.mkdirat(dir, name)
}

func (f *faulty) unlinkat(dir int, name string, flags int) error {
	if err := f.next(false); err != nil {
		return err
	}
	return f.system.unlinkat(dir, name, flags)
}

func (f *faulty) linkat(from int, path string, dir int, name string, flags int) error {
	if err := f.next(true); err != nil {
		return err
	}
	return f.system.linkat(from, path, dir, name, flags)
}

func (f *faulty) renameat(from int, path string, dir int, name string, flags uint) error {
	if err := f.next(false); err != nil {
		return err
	}
	return f.system.renameat(from, path, dir, name, flags)
}

func (f *faulty) utimens(fd int, mtime unix.Timespec) error {
	if err := f.next(false); err != nil {
		return err
	}
	return f.system.utimens(fd, mtime)
}

func (f *faulty) pread(fd int, b []byte, offset int64) (int, error) {
	if err := f.next(false); err != nil {
		return -1, err
	}
	return f.system.pread(fd, b, offset)
}

func (f *faulty) pwrite(fd int, b []byte, offset int64) (int, error) {
	if err := f.next(true); err != nil {
		return -1, err
	}
	if f.short && f.calls == f.at {
		b = b[:len(b)/2]
	}
	return f.system.pwrite(fd, b, offset)
}

func (f *faulty) ftruncate(fd int, size int64) error {
	if err := f.next(false); err != nil {
		return err
	}
	return f.system.ftruncate(fd, size)
}

func (f *faulty) fsync(fd int) error {
	if err := f.next(false); err != nil {
		return err
	}
	return nil // nothing here outlives the machine, and it costs more than all the rest
}

func (f *faulty) fgetxattr(fd int, name string, b []byte) (int, error) {
	if err := f.next(false); err != nil {
		return -1, err
	}
	return f.system.fgetxattr(fd, name, b)
}

func (f *faulty) fsetxattr(fd int, name string, b []byte) error {
	if err := f.next(true); err != nil {
		return err
	}
	return f.system.fsetxattr(fd, name, b)
}
