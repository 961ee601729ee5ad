package attachment

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// eachFile reads the regular files of a directory that are chosen by name, in the order of their names. A directory that does not exist is
// empty. What a file holds is good until each returns: the thousands of a host go through the same memory, and pass by the runtime's poller,
// which with an os.File of each takes longer than reading.
func eachFile(dir string, chosen func(name string) bool, each func(name string, content []byte, err error)) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	buffer := make([]byte, 0, 16<<10)
	for _, e := range entries {
		if !e.Type().IsRegular() || !chosen(e.Name()) {
			continue
		}
		buffer, err = appendFile(buffer[:0], filepath.Join(dir, e.Name()))
		each(e.Name(), buffer, err)
	}
	return nil
}

// appendFile appends what a file holds. Errors are those of os.ReadFile.
func appendFile(buffer []byte, path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return buffer, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }() // only read
	for {
		if len(buffer) == cap(buffer) {
			buffer = append(buffer, 0)[:len(buffer)]
		}
		count, err := unix.Read(fd, buffer[len(buffer):cap(buffer)])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return buffer, &fs.PathError{Op: "read", Path: path, Err: err}
		case count == 0:
			return buffer, nil
		default:
			buffer = buffer[:len(buffer)+count]
		}
	}
}
