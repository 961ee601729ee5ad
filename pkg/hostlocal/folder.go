package hostlocal

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// A folder is an open directory. All names are relative to it and no symbolic
// link is followed, so that nobody who may write to a directory above can turn
// root's writes elsewhere.
type folder struct {
	sys  system
	fd   int
	path string // for errors only
}

// openFolder follows links, since an administrator may well have moved dataDir.
func openFolder(sys system, path string) (folder, error) {
	return openFolderAt(sys, unix.AT_FDCWD, path, path, 0)
}

// sub opens a directory inside.
func (d folder) sub(name string) (folder, error) {
	return openFolderAt(d.sys, d.fd, name, filepath.Join(d.path, name), unix.O_NOFOLLOW)
}

// subOrLink is sub for a directory that may be a symbolic link, as upstream has it for a network's. A link is followed if
// nobody but root, or the user of this process, can have made it.
func (d folder) subOrLink(name string) (folder, error) {
	inside, err := d.sub(name)
	if err == nil || !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) {
		return inside, err
	}
	var here, link unix.Stat_t
	if statErr := errors.Join(d.sys.fstat(d.fd, &here), d.sys.fstatat(d.fd, name, &link)); statErr != nil {
		return folder{}, d.fault("stat", name, statErr)
	}
	const othersWrite = 0o022
	if link.Mode&unix.S_IFMT != unix.S_IFLNK || !trusted(link.Uid) || !trusted(here.Uid) || here.Mode&othersWrite != 0 {
		return folder{}, err
	}
	return openFolderAt(d.sys, d.fd, name, filepath.Join(d.path, name), 0)
}

func trusted(uid uint32) bool { return uid == 0 || int(uid) == unix.Geteuid() }

func openFolderAt(sys system, at int, name, path string, flags int) (folder, error) {
	fd, err := sys.openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|flags, 0)
	if err != nil {
		return folder{}, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return folder{sys: sys, fd: fd, path: path}, nil
}

// makeSub opens a directory inside, which it creates if need be.
func (d folder) makeSub(name string) (folder, error) {
	inside, err := d.sub(name)
	if !isNotExist(err) {
		return inside, err
	}
	if err := d.make(name); err != nil {
		return folder{}, err
	}
	return d.sub(name)
}

// make creates a directory inside, unless there is something of that name.
func (d folder) make(name string) error {
	if err := d.sys.mkdirat(d.fd, name); err != nil && !is(err, unix.EEXIST) {
		return d.fault("mkdir", name, err)
	}
	return nil
}

func (d folder) close() { d.sys.close(d.fd) }

// open opens a file inside. A file that it creates is for its owner alone.
func (d folder) open(name string, flags int) (int, error) {
	fd, err := d.sys.openat(d.fd, name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return -1, d.fault("open", name, err)
	}
	return fd, nil
}

// read returns the whole content of a file.
func (d folder) read(name string) ([]byte, error) {
	fd, err := d.open(name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer d.sys.close(fd)
	return d.readAll(fd, name)
}

// A reservation is nearly always smaller than the first buffer. An environment variable, as a container ID is, is never as
// large as the most (MAX_ARG_STRLEN).
const (
	readFirst = 512
	readMost  = 1 << 18
)

func (d folder) readAll(fd int, name string) ([]byte, error) {
	content := make([]byte, readFirst)
	for length := 0; ; {
		n, err := d.sys.pread(fd, content[length:], int64(length))
		if is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, d.fault("read", name, err)
		}
		length += n
		switch {
		case n == 0 || length < len(content) && length < readFirst:
			return content[:length], nil
		case length > readMost:
			return nil, d.fault("read", name, unix.EFBIG)
		case length == len(content):
			content = append(content, make([]byte, len(content))...)
		}
	}
}

// remove deletes a file; absence is success.
func (d folder) remove(name string) error {
	if err := d.sys.unlinkat(d.fd, name, 0); err != nil && !is(err, unix.ENOENT) {
		return d.fault("remove", name, err)
	}
	return nil
}

// removeDir removes a directory inside, unless something is in it. A link to one stays.
func (d folder) removeDir(name string) error {
	err := d.sys.unlinkat(d.fd, name, unix.AT_REMOVEDIR)
	if err != nil && !is(err, unix.ENOENT, unix.ENOTEMPTY, unix.EEXIST, unix.ENOTDIR) {
		return d.fault("rmdir", name, err)
	}
	return nil
}

// clear removes the files that match, past errors. A directory that was removed has none.
func (d folder) clear(match func(name string) bool) error {
	names, err := d.names()
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if match(name) {
			errs = append(errs, d.remove(name))
		}
	}
	return errors.Join(errs...)
}

// replace gives a file new content, all of it or nothing, also over a power failure.
func (d folder) replace(name string, content []byte) error {
	fd, err := d.create(name+newSuffix, unix.O_WRONLY)
	if err != nil {
		return err
	}
	err = writeAll(d.sys, fd, content)
	if err == nil {
		err = d.sys.fsync(fd)
	}
	d.sys.close(fd)
	if err == nil {
		err = d.sys.renameat(d.fd, name+newSuffix, d.fd, name, 0)
	}
	if err != nil {
		return d.fault("write", name, err)
	}
	return nil
}

// newSuffix is that of a file which is not whole yet.
const newSuffix = ".new"

// create opens a file that nobody else has open: one left by a crash goes first.
func (d folder) create(name string, flags int) (int, error) {
	if err := d.remove(name); err != nil {
		return -1, err
	}
	return d.open(name, flags|unix.O_CREAT|unix.O_EXCL)
}

func writeAll(sys system, fd int, content []byte) error {
	n, err := sys.pwrite(fd, content, 0)
	if err == nil && n < len(content) {
		err = unix.ENOSPC
	}
	return err
}

// overwrite changes a file in place, which costs less than replace and leaves
// the directory's mtime alone. A crash may leave a mixture. It makes no file.
func (d folder) overwrite(name string, content []byte) error {
	fd, err := d.open(name, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer d.sys.close(fd)
	if err := writeAll(d.sys, fd, content); err != nil {
		return d.fault("write", name, err)
	}
	if err := d.sys.ftruncate(fd, int64(len(content))); err != nil {
		return d.fault("truncate", name, err)
	}
	return nil
}

// writeNew makes a file. One that a crash cuts short is as good as none.
func (d folder) writeNew(name string, content []byte) error {
	fd, err := d.open(name, unix.O_WRONLY|unix.O_CREAT)
	if err != nil {
		return err
	}
	defer d.sys.close(fd)
	if err := writeAll(d.sys, fd, content); err != nil {
		return d.fault("write", name, err)
	}
	return nil
}

// names lists the directory.
func (d folder) names() ([]string, error) {
	names, err := d.sys.names(d.fd)
	if err != nil {
		return nil, d.fault("list", "", err)
	}
	return names, nil
}

// stat describes a file inside.
func (d folder) stat(name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	if err := d.sys.fstatat(d.fd, name, &st); err != nil {
		return st, d.fault("stat", name, err)
	}
	return st, nil
}

// mtime changes with each file that is made or removed inside.
func (d folder) mtime() (unix.Timespec, error) {
	var st unix.Stat_t
	if err := d.sys.fstat(d.fd, &st); err != nil {
		return unix.Timespec{}, d.fault("stat", "", err)
	}
	return st.Mtim, nil
}

func (d folder) fault(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: filepath.Join(d.path, name), Err: err}
}

// is says whether an error is one of several of the kernel's.
func is(err error, any ...unix.Errno) bool {
	return slices.ContainsFunc(any, func(e unix.Errno) bool { return errors.Is(err, e) })
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// advice is what a person can do about an error of the operating system.
func advice(err error) string {
	for _, a := range []struct {
		text string
		is   []unix.Errno
	}{
		{"name a directory that can be written", []unix.Errno{unix.EROFS, unix.EACCES, unix.EPERM}},
		{"name a directory, or a link to one that root alone can change", []unix.Errno{unix.ENOTDIR, unix.ELOOP}},
		{"make room on its file system", []unix.Errno{unix.ENOSPC, unix.EDQUOT}},
		{"the process has too few descriptors or too little memory, try again", []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOMEM}},
		{"repair its file system, or remove the file", []unix.Errno{unix.EIO, unix.EUCLEAN, unix.EBADMSG, unix.EFBIG}},
	} {
		if is(err, a.is...) {
			return a.text
		}
	}
	return ""
}
