package detached

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// DefaultDir is where containers are kept.
const DefaultDir = "/run/fairway/containers"

// Container is a command in the background.
type Container struct {
	ID, Name string
	Command  []string
	// Dir is the directory that the command began in.
	Dir     string
	Created time.Time
	// Supervisor is the process of fairway's, and Init the first one of the container.
	Supervisor, Init int
	// Ended is when it ended, and Status how; zero while it runs, and when the supervisor was killed.
	Ended  time.Time
	Status int

	// Running: the supervisor is there.
	Running bool `json:"-"`
}

// ErrNotFound says that there is no container of a name or ID.
var ErrNotFound = errors.New("there is no container of fairway run --detach")

// Store is a directory of containers.
type Store struct{ Dir string }

const (
	stateFile = "state.json"
	lockFile  = "lock"
)

// List gives all containers, the newest first.
func (s Store) List() ([]Container, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []Container
	for _, entry := range entries {
		if c, err := s.read(entry.Name()); err == nil { // else it is being made, or removed
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b Container) int { return b.Created.Compare(a.Created) })
	return all, err
}

func (s Store) read(id string) (c Container, err error) {
	text, err := os.ReadFile(filepath.Join(s.Dir, id, stateFile))
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, err
	}
	c.Running = s.locked(id)
	return c, nil
}

// locked says whether somebody holds the lock of a container.
func (s Store) locked(id string) bool {
	file, err := os.Open(filepath.Join(s.Dir, id, lockFile))
	if err != nil {
		return false
	}
	defer file.Close()
	return errors.Is(unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// Find finds a container by its name, its ID, or how that begins. One that runs goes before those that have ended.
func (s Store) Find(ref string) (Container, error) {
	all, err := s.List()
	if err != nil {
		return Container{}, err
	}
	slices.SortStableFunc(all, func(a, b Container) int {
		switch {
		case a.Running == b.Running:
			return 0
		case a.Running:
			return -1
		}
		return 1
	})
	for _, is := range []func(Container) bool{
		func(c Container) bool { return c.Name == ref || c.ID == ref },
		func(c Container) bool { return ref != "" && strings.HasPrefix(c.ID, ref) },
	} {
		if at := slices.IndexFunc(all, is); at >= 0 {
			return all[at], nil
		}
	}
	return Container{}, fmt.Errorf("%w %q", ErrNotFound, ref)
}

// Remove forgets a container that has ended.
func (s Store) Remove(id string) error { return os.RemoveAll(filepath.Join(s.Dir, id)) }

// Record is the container of this process.
type Record struct {
	store     Store
	container Container
	lock      *os.File
}

// Begin makes the record of a container of this process. Those of the same name that have ended are forgotten.
func (s Store) Begin(c Container) (*Record, error) {
	all, err := s.List()
	if err != nil {
		return nil, err
	}
	for _, other := range all {
		if other.Name == c.Name && !other.Running {
			if err := s.Remove(other.ID); err != nil {
				return nil, err
			}
		}
	}
	dir := filepath.Join(s.Dir, c.ID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("flock %s: %w", lock.Name(), err), lock.Close())
	}
	return &Record{store: s, container: c, lock: lock}, nil
}

// Started notes that the container runs, by its first process.
func (r *Record) Started(init int) error {
	r.container.Init, r.container.Supervisor = init, os.Getpid()
	return r.write()
}

func (r *Record) write() error {
	text, err := json.Marshal(r.container)
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(r.store.Dir, r.container.ID, stateFile), text, 0o600)
}

// End notes how the container has ended, or forgets it.
func (r *Record) End(status int, forget bool) error {
	defer r.lock.Close()
	if forget {
		return r.store.Remove(r.container.ID)
	}
	r.container.Ended, r.container.Status = time.Now(), status
	return r.write()
}
