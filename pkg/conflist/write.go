package conflist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/flock"
)

// ErrExists says that there is a network of that name.
var ErrExists = errors.New("already exists")

// Lock is a netconf directory that no other process of fairway changes. Who chooses a subnet holds it from reading the
// networks to writing the new one.
type Lock struct {
	dir string
	fd  int
}

// lockName is not read by libcni, for its ending.
const lockName = ".fairway.lock"

// asideName is a file that the lock's holder is writing.
const asideName = ".fairway.new"

// patience bounds the wait for a directory, which nobody holds for longer than plugins need to clean up.
const patience = time.Minute

// Acquire waits for the directory, which it makes when there is none. The error wraps flock.ErrBusy when another process
// held it for a minute.
func Acquire(dir string) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("netconf directory: %w", err)
	}
	path := filepath.Join(dir, lockName)
	d, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("netconf directory: %w", &fs.PathError{Op: "open", Path: dir, Err: err})
	}
	defer func() { _ = unix.Close(d) }() // nothing was written
	fd, err := flock.At(context.Background(), d, lockName, patience)
	if err != nil {
		return nil, fmt.Errorf("netconf directory: %w", &fs.PathError{Op: "lock", Path: path, Err: err})
	}
	_ = os.Remove(filepath.Join(dir, asideName)) // its writer was killed; who writes finds it anyhow if it cannot be removed
	return &Lock{dir: dir, fd: fd}, nil
}

// Release lets others go on.
func (l *Lock) Release() { _ = unix.Close(l.fd) } // nothing was written

// Create writes a new network. The error wraps ErrExists when there is one of that name, whoever made it.
func (l *Lock) Create(d Definition) (Network, error) {
	networks, err := Load(l.dir)
	if err != nil {
		return Network{}, err
	}
	if n, taken := networks.named(d.Name); taken && n.File != "" {
		return Network{}, fmt.Errorf("network with name %s %w", d.Name, ErrExists)
	}
	return l.write(d, os.Link)
}

// Replace writes a network over an earlier file of ours, or anew. The error wraps ErrExists when a file of another origin
// has a network of that name.
func (l *Lock) Replace(d Definition) (Network, error) {
	networks, err := Load(l.dir)
	if err != nil {
		return Network{}, err
	}
	if n, taken := networks.named(d.Name); taken && n.File != "" && n.File != filepath.Join(l.dir, d.fileName()) {
		return Network{}, fmt.Errorf("network with name %s %w, in %s", d.Name, ErrExists, n.File)
	}
	return l.write(d, os.Rename)
}

// write puts the whole file in its place, by a link or a renaming, so that nobody reads half of it.
func (l *Lock) write(d Definition, place func(from, to string) error) (Network, error) {
	content, err := d.Encode()
	if err != nil {
		return Network{}, err
	}
	path := filepath.Join(l.dir, d.fileName())
	aside := filepath.Join(l.dir, asideName)
	if err := writeFile(aside, content); err != nil {
		return Network{}, fmt.Errorf("network %s: %w", d.Name, err)
	}
	defer func() { _ = os.Remove(aside) }() // gone already after a renaming
	switch err := place(aside, path); {
	case errors.Is(err, fs.ErrExist):
		return Network{}, fmt.Errorf("network %s: the file %s %w and holds another network: move it away", d.Name, path, ErrExists)
	case err != nil:
		return Network{}, fmt.Errorf("network %s: %w", d.Name, err)
	}
	if err := syncDir(l.dir); err != nil {
		return Network{}, fmt.Errorf("network %s: %w", d.Name, err)
	}
	n, err := d.parse(content)
	n.File = path
	return n, err
}

// writeFile writes a file that survives a power failure, readable by all. What an earlier process left there goes.
func writeFile(path string, content []byte) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()) // the mode, whatever the umask
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Remove deletes the file of a network. Its absence is success.
func (l *Lock) Remove(n Network) error {
	if n.File == "" {
		return fmt.Errorf("network %s is predefined, and in no file", n.Name)
	}
	return l.RemoveAll([]Network{n})
}

// RemoveAll is Remove for several, past errors.
func (l *Lock) RemoveAll(networks []Network) error {
	var errs []error
	dirs := map[string]bool{}
	for _, n := range networks {
		if err := os.Remove(n.File); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("network %s: %w", n.Name, err))
		}
		dirs[filepath.Dir(n.File)] = true
	}
	for dir := range dirs {
		errs = append(errs, syncDir(dir))
	}
	return errors.Join(errs...)
}
