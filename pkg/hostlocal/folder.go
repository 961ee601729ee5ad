package hostlocal

import (
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// fileMax is more than any file of ours or upstream's holds, except the index.
const fileMax = 4096

// A folder is an open directory. All names are relative to it and no symbolic
// link is followed, so that nobody who may write to a directory above can turn
// root's writes elsewhere.
type folder struct {
	fd   int
	path string // for errors only
}

// openFolder follows links, since an administrator may well have moved dataDir.
func openFolder(path string) (folder, error) {
	return openFolderAt(unix.AT_FDCWD, path, path, 0)
}

// sub opens a directory inside.
func (d folder) sub(name string) (folder, error) {
	return openFolderAt(d.fd, name, filepath.Join(d.path, name), unix.O_NOFOLLOW)
}

func openFolderAt(at int, name, path string, flags int) (folder, error) {
	fd, err := openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|flags, 0)
	if err != nil {
		return folder{}, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return folder{fd: fd, path: path}, nil
}

// openat closes on exec, and goes on after a signal: network file systems return EINTR.
func openat(at int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(at, name, flags|unix.O_CLOEXEC, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// makeSub opens a directory inside, which it creates if need be.
func (d folder) makeSub(name string) (folder, error) {
	inside, err := d.sub(name)
	if !isNotExist(err) {
		return inside, err
	}
	if err := unix.Mkdirat(d.fd, name, 0o755); err != nil && err != unix.EEXIST {
		return folder{}, d.fault("mkdir", name, err)
	}
	return d.sub(name)
}

func (d folder) close() {
	_ = unix.Close(d.fd) // a directory has nothing to flush
}

// open opens a file inside. A file that it creates is for its owner alone.
func (d folder) open(name string, flags int) (int, error) {
	fd, err := openat(d.fd, name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return -1, d.fault("open", name, err)
	}
	return fd, nil
}

// read returns the first fileMax bytes of a file.
func (d folder) read(name string) ([]byte, error) {
	fd, err := d.open(name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written
	content := make([]byte, fileMax)
	n, err := unix.Read(fd, content)
	if err != nil {
		return nil, d.fault("read", name, err)
	}
	return content[:n], nil
}

// remove deletes a file; absence is success.
func (d folder) remove(name string) error {
	if err := unix.Unlinkat(d.fd, name, 0); err != nil && err != unix.ENOENT {
		return d.fault("remove", name, err)
	}
	return nil
}

// replace gives a file new content, all of it or nothing, also over a power failure.
func (d folder) replace(name string, content []byte) error {
	temporary := name + ".new"
	fd, err := d.open(temporary, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, content)
	if err == nil {
		err = unix.Fsync(fd)
	}
	if closeErr := unix.Close(fd); err == nil {
		err = closeErr
	}
	if err == nil {
		err = unix.Renameat(d.fd, temporary, d.fd, name)
	}
	if err != nil {
		return d.fault("write", name, err)
	}
	return nil
}

// overwrite changes a file in place, which costs less than replace and leaves
// the directory's mtime alone. A crash may leave a mixture.
func (d folder) overwrite(name string, content []byte) error {
	fd, err := d.open(name, unix.O_WRONLY|unix.O_CREAT)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }() // the writes below have reported their errors
	if _, err := unix.Pwrite(fd, content, 0); err != nil {
		return d.fault("write", name, err)
	}
	if err := unix.Ftruncate(fd, int64(len(content))); err != nil {
		return d.fault("truncate", name, err)
	}
	return nil
}

// names lists the directory.
func (d folder) names() ([]string, error) {
	fd, err := openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, d.fault("open", "", err)
	}
	f := os.NewFile(uintptr(fd), d.path)
	defer func() { _ = f.Close() }() // nothing was written
	return f.Readdirnames(-1)
}

// stat describes a file inside; "." is the directory itself.
func (d folder) stat(name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return st, d.fault("stat", name, err)
	}
	return st, nil
}

func (d folder) fault(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: filepath.Join(d.path, name), Err: err}
}
