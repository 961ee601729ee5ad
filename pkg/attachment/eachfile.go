package attachment

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// eachFile reads the regular files of a directory that are chosen by name, in the order of their names. A directory that does not exist is
// empty. What a file holds is good until each returns: the thousands of a host go through the same memory, and pass by the runtime's poller,
// which with an os.File of each takes longer than reading.
func eachFile(dir string, chosen func(name string) bool, each func(name string, content []byte, err error)) error {
	at, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = at.Close() }() // only read
	entries, err := at.ReadDir(-1)
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	buffer := make([]byte, 0, 16<<10)
	for _, e := range entries {
		if !e.Type().IsRegular() || !chosen(e.Name()) {
			continue
		}
		if buffer, err = appendFile(buffer[:0], int(at.Fd()), e.Name()); err != nil {
			err = &fs.PathError{Op: "read", Path: filepath.Join(dir, e.Name()), Err: err}
		}
		each(e.Name(), buffer, err)
	}
	return nil
}

// appendFile appends what a file of a directory holds. A regular file gives less than there is room for at its end alone.
func appendFile(buffer []byte, directory int, name string) ([]byte, error) {
	fd, err := unix.Openat(directory, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return buffer, err
	}
	defer func() { _ = unix.Close(fd) }() // only read
	for {
		if len(buffer) == cap(buffer) {
			buffer = append(buffer, 0)[:len(buffer)]
		}
		room := buffer[len(buffer):cap(buffer)]
		count, err := unix.Read(fd, room)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return buffer, err
		}
		buffer = buffer[:len(buffer)+count]
		if count < len(room) {
			return buffer, nil
		}
	}
}
