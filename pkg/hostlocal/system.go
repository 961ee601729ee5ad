package hostlocal

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/flock"
)

// system is the calls to the kernel by which a Store reads and changes its files. Errors are bare errors of unix. That a
// reservation is whole or absent after any of them, whether it fails or is the process's last, is what the order of these
// calls is for, and tests put other kernels here to show it.
type system interface {
	openat(dir int, name string, flags int, mode uint32) (int, error)
	close(fd int)
	lock(ctx context.Context, dir int, name string, patience time.Duration) (int, error)
	holds(dir int, name string, fd int) bool

	names(fd int) ([]string, error)
	fstat(fd int, st *unix.Stat_t) error
	fstatat(dir int, name string, st *unix.Stat_t) error
	mkdirat(dir int, name string) error
	unlinkat(dir int, name string, flags int) error
	linkat(from int, path string, dir int, name string, flags int) error
	renameat(from int, path string, dir int, name string, flags uint) error
	utimens(fd int, mtime unix.Timespec) error

	pread(fd int, b []byte, offset int64) (int, error)
	pwrite(fd int, b []byte, offset int64) (int, error)
	ftruncate(fd int, size int64) error
	fsync(fd int) error
	fgetxattr(fd int, name string, b []byte) (int, error)
	fsetxattr(fd int, name string, b []byte) error
}

// linux is the kernel itself.
type linux struct{}

// openat closes on exec, and goes on after a signal: network file systems return EINTR.
func (linux) openat(dir int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func (linux) close(fd int) { _ = unix.Close(fd) } // the writes have reported their errors

func (linux) lock(ctx context.Context, dir int, name string, patience time.Duration) (int, error) {
	return flock.At(ctx, dir, name, patience)
}

func (linux) holds(dir int, name string, fd int) bool {
	named, err := flock.Names(dir, name, fd)
	return named && err == nil
}

func (linux) names(fd int) ([]string, error) {
	again, err := linux{}.openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0) // with an offset of its own
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(again), ".")
	defer func() { _ = f.Close() }() // nothing was written
	return f.Readdirnames(-1)
}

func (linux) fstat(fd int, st *unix.Stat_t) error { return unix.Fstat(fd, st) }

func (linux) fstatat(dir int, name string, st *unix.Stat_t) error {
	return unix.Fstatat(dir, name, st, unix.AT_SYMLINK_NOFOLLOW)
}

func (linux) mkdirat(dir int, name string) error { return unix.Mkdirat(dir, name, 0o755) }

func (linux) unlinkat(dir int, name string, flags int) error { return unix.Unlinkat(dir, name, flags) }

func (linux) linkat(from int, path string, dir int, name string, flags int) error {
	return unix.Linkat(from, path, dir, name, flags)
}

func (linux) renameat(from int, path string, dir int, name string, flags uint) error {
	return unix.Renameat2(from, path, dir, name, flags)
}

func (linux) utimens(fd int, mtime unix.Timespec) error {
	keep := unix.Timespec{Nsec: unix.UTIME_OMIT}
	return unix.UtimesNanoAt(fd, ".", []unix.Timespec{keep, mtime}, 0)
}

func (linux) pread(fd int, b []byte, offset int64) (int, error)  { return unix.Pread(fd, b, offset) }
func (linux) pwrite(fd int, b []byte, offset int64) (int, error) { return unix.Pwrite(fd, b, offset) }
func (linux) ftruncate(fd int, size int64) error                 { return unix.Ftruncate(fd, size) }
func (linux) fsync(fd int) error                                 { return unix.Fsync(fd) }

func (linux) fgetxattr(fd int, name string, b []byte) (int, error) {
	return unix.Fgetxattr(fd, name, b)
}
func (linux) fsetxattr(fd int, name string, b []byte) error { return unix.Fsetxattr(fd, name, b, 0) }
