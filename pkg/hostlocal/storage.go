package hostlocal

import (
	"io"

	"golang.org/x/sys/unix"
)

// storage is where an index lies: a file, or memory where no file can be written.
type storage interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
}

// file is a descriptor without the poller and finalizer of an os.File, which cost
// more than the few bytes read here.
type file int

func (f file) ReadAt(b []byte, offset int64) (int, error) {
	n, err := unix.Pread(int(f), b, offset)
	if err == nil && n < len(b) {
		err = io.ErrUnexpectedEOF
	}
	return max(n, 0), err
}

func (f file) WriteAt(b []byte, offset int64) (int, error) {
	n, err := unix.Pwrite(int(f), b, offset)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return max(n, 0), err
}

func (f file) Close() error { return unix.Close(int(f)) }

// memory lives as long as the call.
type memory []byte

func (m memory) ReadAt(b []byte, offset int64) (int, error) {
	if offset+int64(len(b)) > int64(len(m)) {
		return 0, io.ErrUnexpectedEOF
	}
	return copy(b, m[offset:]), nil
}

func (m memory) WriteAt(b []byte, offset int64) (int, error) {
	if offset+int64(len(b)) > int64(len(m)) {
		return 0, io.ErrShortWrite
	}
	return copy(m[offset:], b), nil
}

func (m memory) Close() error { return nil }
