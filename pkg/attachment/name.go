package attachment

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/flock"
)

// namesDir is below libcni's directory. A container of fairway's that runs has the file of its name locked.
const namesDir = "fairway/containers"

// ErrNameTaken says that another container has the name.
var ErrNameTaken = errors.New("is the name of another container")

// ReserveName makes a name the caller's, as long as the file is open in any process. ReleaseName removes it. The error wraps
// ErrNameTaken.
func (r Runtime) ReserveName(name string) (*os.File, error) {
	// Who removes a name that nobody has any more holds it for a moment.
	const tries, interval = 5, 10 * time.Millisecond
	dir, err := r.openDir(namesDir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(dir) }() // nothing was written
	fd, err := flock.Try(dir, name)
	for range tries {
		if !errors.Is(err, flock.ErrBusy) {
			break
		}
		time.Sleep(interval)
		fd, err = flock.Try(dir, name)
	}
	if errors.Is(err, flock.ErrBusy) {
		return nil, fmt.Errorf("%s %w, %w: choose another", name, ErrNameTaken, err)
	}
	if err != nil {
		return nil, fmt.Errorf("container name %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), filepath.Join(r.dir(), namesDir, name)), nil
}

// ReleaseName is for who has the file open, at the end.
func (r Runtime) ReleaseName(name string) {
	_ = os.Remove(filepath.Join(r.dir(), namesDir, name)) // a file that stays is reused
}
