package names

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// base holds the records of each host. Like the kernel's state, they do not outlive the boot.
const base = "/run/fairway/names"

// suffix is how the files of records end; others in the directory are none.
const suffix = ".json"

// maxRecord is the size in bytes of the largest file that is read.
const maxRecord = 1 << 17

// Directory holds the records of one host, a file for each attachment.
type Directory string

// OnHost is the directory of the host whose namespace has a cookie (kernel.HostCookie): several may share /run.
func OnHost(cookie uint64) Directory {
	return Directory(filepath.Join(base, strconv.FormatUint(cookie, 10)))
}

// Put leaves a record, in place of an earlier one of the same owner: all of it or nothing. There is no flush, as after a power
// failure there are no attachments.
func (d Directory) Put(r Record) error {
	r.Version = Version
	if err := r.Check(); err != nil {
		return err
	}
	text := r.encode()
	if err := d.make(); err != nil {
		return err
	}
	// Two processes may write one owner's record; a dot keeps the file from being read.
	path := filepath.Join(string(d), r.Owner.file())
	temporary := filepath.Join(string(d), fmt.Sprintf(".%s.%d", r.Owner.file(), os.Getpid()))
	if err := write(temporary, append(text, '\n')); err != nil {
		return err
	}
	err := unix.Rename(temporary, path)
	if errors.Is(err, unix.ENOENT) { // a Sweep that does not see this process
		if err := write(temporary, append(text, '\n')); err != nil {
			return err
		}
		err = unix.Rename(temporary, path)
	}
	if err != nil {
		return errors.Join(&fs.PathError{Op: "rename", Path: path, Err: err}, os.Remove(temporary))
	}
	return nil
}

// Sweep removes what a Put has left that was killed before its record was whole. It goes on past errors.
func (d Directory) Sweep() error {
	entries, err := os.ReadDir(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, entry := range entries {
		name := entry.Name()
		end := strings.LastIndexByte(name, '.')
		if !strings.HasPrefix(name, ".") || end < 1 || !IsFile(name[1:end]) {
			continue
		}
		if pid, err := strconv.Atoi(name[end+1:]); err != nil || !errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			continue
		}
		if err := os.Remove(filepath.Join(string(d), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// write writes a file, without the poller that an os.File has. Nothing that is there is followed.
func write(path string, text []byte) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	for len(text) > 0 {
		n, err := unix.Write(fd, text)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return &fs.PathError{Op: "write", Path: path, Err: err}
		}
		text = text[max(n, 0):]
	}
	return nil
}

// Remove takes an owner's record away. Absence is success.
func (d Directory) Remove(o Owner) error {
	if err := os.Remove(filepath.Join(string(d), o.file())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Record is an owner's record. The error is fs.ErrNotExist when there is none.
func (d Directory) Record(o Owner) (Record, error) {
	r, err := d.Read(o.file())
	if err == nil && r.Owner != o {
		err = fmt.Errorf("%s: %w: it is of another owner", filepath.Join(string(d), o.file()), ErrRecord)
	}
	return r, err
}

// Files are the names of the records' files. Without a directory there are none.
func (d Directory) Files() ([]string, error) {
	f, err := os.Open(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := f.Readdirnames(-1)
	files := all[:0]
	for _, name := range all {
		if IsFile(name) {
			files = append(files, name)
		}
	}
	return files, err
}

// IsFile says whether the name of a file is that of a record.
func IsFile(name string) bool {
	return strings.HasSuffix(name, suffix) && !strings.HasPrefix(name, ".") && !strings.ContainsRune(name, '/')
}

// Records are all records that can be read; what cannot is part of the error, and what is removed meanwhile of neither.
func (d Directory) Records() (all []Record, err error) {
	files, err := d.Files()
	errs := []error{err}
	for _, file := range files {
		switch r, err := d.Read(file); {
		case err == nil:
			all = append(all, r)
		case !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, err)
		}
	}
	return all, errors.Join(errs...)
}

// Read reads the record in a file of the directory. The error wraps ErrRecord when it holds none.
func (d Directory) Read(file string) (Record, error) {
	path := filepath.Join(string(d), filepath.Base(file))
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return Record{}, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	if err != nil {
		return Record{}, err
	}
	if len(text) > maxRecord {
		return Record{}, fmt.Errorf("%s: %w: larger than %d bytes", path, ErrRecord, maxRecord)
	}
	r, err := Decode(text)
	if err != nil {
		return Record{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// make makes the directory unless it is there. Others may read it; one that others may write to is refused, since what is in
// it decides where names lead.
func (d Directory) make() error {
	var st unix.Stat_t
	err := unix.Lstat(string(d), &st)
	if errors.Is(err, unix.ENOENT) {
		if err := os.MkdirAll(string(d), 0o755); err != nil {
			return err
		}
		err = unix.Lstat(string(d), &st)
	}
	switch {
	case err != nil:
		return &fs.PathError{Op: "lstat", Path: string(d), Err: err}
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return &fs.PathError{Op: "lstat", Path: string(d), Err: unix.ENOTDIR}
	case st.Mode&0o022 != 0 || st.Uid != uint32(os.Geteuid()):
		return fmt.Errorf("%s: others may write to it: remove the directory, it is made again", d)
	}
	return nil
}
