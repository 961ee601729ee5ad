package names

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/flock"
)

// What a resolver and those who call it have in common: files beside the records, and lines on the socket.
const (
	socketFile   = "resolver.sock"
	resolverLock = ".resolver" // held by the resolver as long as it runs
	callerLock   = ".caller"   // held by who starts a resolver, and by one that is about to end

	// Done is the answer to a call that was acted on; any other is what went wrong.
	Done = "ok"
	// Leave asks a temporary resolver to make room for another.
	Leave = "leave"
	// Release asks a resolver to close its sockets in namespaces to which no way leads any more, and not to wait for its next audit.
	Release = "release"
)

var (
	// ErrRunning says that another resolver serves the host.
	ErrRunning = errors.New("another resolver serves this host")
	// ErrNoResolver says that none does.
	ErrNoResolver = errors.New("no resolver runs on this host")
)

// Socket is where the resolver listens for those who change records.
func (d Directory) Socket() string { return filepath.Join(string(d), socketFile) }

// Occupy makes the caller the only resolver of the host until release is called, or the process ends. The error wraps ErrRunning.
func (d Directory) Occupy() (release func(), err error) {
	const patience = 5 * time.Second // one that is about to end
	return d.lock(resolverLock, patience)
}

// lock locks a file of the directory.
func (d Directory) lock(file string, patience time.Duration) (release func(), err error) {
	root, err := d.make()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	path := filepath.Join(string(d), file)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	switch err := flock.Lock(context.Background(), fd, patience); {
	case errors.Is(err, flock.ErrBusy):
		return nil, fmt.Errorf("%s: %w", path, ErrRunning)
	case err != nil:
		return nil, &fs.PathError{Op: "flock", Path: path, Err: err}
	}
	return func() { _ = unix.Close(fd) }, nil // nothing was written
}

// startPatience is for how long a caller waits for its turn to start a resolver, and for that to listen.
const startPatience = 20 * time.Second

// Starter gives the caller the turn to start a resolver, if it still finds none, until release is called.
func (d Directory) Starter() (release func(), err error) { return d.lock(callerLock, startPatience) }

// Vacate takes the socket away if idle still holds, so that the next caller starts another resolver. Nobody is about to start
// one meanwhile: who has left a record before is seen by idle, who does so later finds no socket.
func (d Directory) Vacate(idle func() bool) (left bool, err error) {
	release, err := d.Starter()
	if err != nil {
		return false, err
	}
	defer release()
	if !idle() {
		return false, nil
	}
	return true, os.Remove(d.Socket())
}

// Tell tells the resolver of an owner's record that was put or removed, and waits until it has acted on that. The error wraps
// ErrNoResolver when there is none.
func (d Directory) Tell(o Owner) error { return d.call(o.file()) }

// TellToLeave asks a temporary resolver to end.
func (d Directory) TellToLeave() error { return d.call(Leave) }

// TellToRelease asks the resolver for the end of what it holds of containers that have gone: its sockets keep their namespaces.
func (d Directory) TellToRelease() error { return d.call(Release) }

func (d Directory) call(line string) error {
	const patience = 10 // seconds
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket to the resolver: %w", err)
	}
	defer unix.Close(fd)
	limit := unix.Timeval{Sec: patience}
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit))
	if err != nil {
		return fmt.Errorf("socket to the resolver: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: d.Socket()}); err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
			return fmt.Errorf("%s: %w", d.Socket(), ErrNoResolver)
		}
		return fmt.Errorf("%s: %w", d.Socket(), err)
	}
	answer, err := exchange(fd, line+"\n")
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", d.Socket(), err)
	case answer == "": // it ended before it took the call
		return fmt.Errorf("%s: %w", d.Socket(), ErrNoResolver)
	case answer != Done:
		return fmt.Errorf("resolver: %s", answer)
	}
	return nil
}

// exchange sends a line and receives another.
func exchange(fd int, line string) (string, error) {
	if err := unix.Sendto(fd, []byte(line), unix.MSG_NOSIGNAL, nil); err != nil {
		return "", ignoreEnd(err)
	}
	var answer []byte
	buffer := make([]byte, 4096)
	for {
		n, err := unix.Read(fd, buffer)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return "", ignoreEnd(err)
		case n == 0:
			return strings.TrimSuffix(string(answer), "\n"), nil
		}
		answer = append(answer, buffer[:n]...)
	}
}

// ignoreEnd takes the other side's end for an empty answer.
func ignoreEnd(err error) error {
	if errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) {
		return nil
	}
	return err
}
