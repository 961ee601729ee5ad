package detached

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Files of what a container has printed: the current one, and the one before it.
const (
	logFile    = "log"
	logBefore  = "log.before"
	maxLogFile = 4 << 20 // bytes: /run is memory
)

// Log gives the end of a pipe. What is written into it is kept, of much the last part.
func (r *Record) Log() (write *os.File, done <-chan struct{}, err error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	dir := filepath.Join(r.store.Dir, r.container.ID)
	file, err := os.OpenFile(filepath.Join(dir, logFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, errors.Join(err, read.Close(), write.Close())
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		keep(read, file, dir)
	}()
	return write, ended, nil
}

// keep copies until the end. Where nothing can be kept, the command goes on.
func keep(from io.Reader, file *os.File, dir string) {
	defer func() { _ = file.Close() }() // each part has been written
	size := 0
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			_, _ = file.Write(buffer[:n])
			size += n
		}
		if err != nil {
			return
		}
		if size < maxLogFile {
			continue
		}
		if os.Rename(filepath.Join(dir, logFile), filepath.Join(dir, logBefore)) != nil {
			continue
		}
		if next, err := os.OpenFile(filepath.Join(dir, logFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err == nil {
			_ = file.Close()
			file, size = next, 0
		}
	}
}

// Printed writes what a container has printed, and with follow what it prints until it ends or the context does.
func (s Store) Printed(ctx context.Context, id string, to io.Writer, follow bool) error {
	dir := filepath.Join(s.Dir, id)
	before, err := os.ReadFile(filepath.Join(dir, logBefore))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := to.Write(before); err != nil {
		return err
	}
	file, err := os.Open(filepath.Join(dir, logFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { file.Close() }()
	for {
		running := s.locked(id) // before what it has printed is read
		if _, err := io.Copy(to, file); err != nil {
			return err
		}
		if !follow || !running {
			return nil
		}
		file = s.next(dir, file)
		const interval = 100 * time.Millisecond
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(interval):
		}
	}
}

// next is the file that is written now: another one, once the one that was read is full.
func (Store) next(dir string, file *os.File) *os.File {
	now, err := os.Open(filepath.Join(dir, logFile))
	if err != nil {
		return file
	}
	a, aErr := file.Stat()
	b, bErr := now.Stat()
	if at, err := file.Seek(0, io.SeekCurrent); err != nil || aErr != nil || bErr != nil || os.SameFile(a, b) || at < a.Size() {
		now.Close()
		return file
	}
	file.Close()
	return now
}
