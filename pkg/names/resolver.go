package names

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/flock"
)

// What a resolver and those who call it have in common: files beside the records, and what is said on the socket, a packet for each call and each answer.
const (
	socketFile   = "resolver.sock"
	resolverLock = ".resolver" // held by the resolver as long as it runs
	callerLock   = ".caller"   // held by who starts a resolver, and by one that is about to end

	// MaxCall is the longest call in bytes.
	MaxCall = 8192
	// MaxAnswer is the longest answer in bytes, of a name that a thousand containers have.
	MaxAnswer = 1 << 16
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
	if err := d.make(); err != nil {
		return nil, err
	}
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
