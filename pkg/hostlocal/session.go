package hostlocal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/failure"
	"github.com/fairway-cni/fairway/pkg/flock"
)

const (
	// sideDir holds what is ours. No network is called like this, for their names begin with a letter or digit.
	sideDir = ".fairway"
	// lockName is upstream's file.
	lockName = "lock"
	// lockPatience bounds the wait for the lock: less than the two minutes that a kubelet allows for a sandbox, more than a
	// thousand calls before ours take.
	lockPatience = 20 * time.Second
)

// A session is one call's work on a network's directory, under its lock.
type session struct {
	network string
	boot    boot
	gone    Gone
	net     folder  // upstream's files
	side    *folder // ours; nil where it cannot be made, on a full disk for instance
	lock    int
	index   *index
	mtime   unix.Timespec // of the directory, as this session knows it
	apart   bool          // it was changed by others meanwhile, who do not keep to the lock
	marked  boot          // in which the directory was cleared of earlier ones
	current bool          // nothing in it is of an earlier boot
	made    bool          // by this call
	begins  bool          // all that was given in this boot is known: a history may begin
}

// create is enter for a network that may not have a directory yet.
func (st *Store) create(ctx context.Context) (*session, error) {
	const tries = 1000 // each of them lost to one who removes the directory, which many may do
	made := false
	for range tries {
		s, err := st.enterNew(ctx, made)
		if !isNotExist(err) {
			return s, err
		}
		if made, err = st.makeDir(); err != nil {
			return nil, err
		}
	}
	return st.enter(ctx)
}

// makeDir says whether it was made by this call.
func (st *Store) makeDir() (made bool, err error) {
	if err := os.MkdirAll(st.DataDir, 0o755); err != nil {
		return false, st.unusable(err)
	}
	data, err := openFolder(st.sys, st.DataDir)
	if err != nil {
		return false, st.unusable(err)
	}
	defer data.close()
	switch err := data.sys.mkdirat(data.fd, st.Network); {
	case is(err, unix.EEXIST):
		return false, nil
	case err != nil:
		return false, st.unusable(data.fault("mkdir", st.Network, err))
	}
	return true, nil
}

// enter locks an existing network; without one, the error is fs.ErrNotExist.
func (st *Store) enter(ctx context.Context) (*session, error) { return st.enterNew(ctx, false) }

// enterNew is enter for a network whose directory this call may have made.
func (st *Store) enterNew(ctx context.Context, made bool) (*session, error) {
	s, err := st.open(ctx)
	if err != nil {
		return nil, err
	}
	s.made, s.begins = made, made
	s.clearEarlierBoots()
	if err := s.prepare(); err != nil {
		s.close()
		return nil, st.unusable(err)
	}
	return s, nil
}

// open is enter that leaves what earlier boots have reserved.
func (st *Store) open(ctx context.Context) (*session, error) {
	data, err := openFolder(st.sys, st.DataDir)
	if err != nil {
		return nil, st.unusable(err)
	}
	defer data.close()
	s := &session{network: st.Network, boot: st.boot, gone: st.Gone}
	if s.net, err = data.subOrLink(st.Network); err != nil {
		return nil, st.unusable(err)
	}
	began := time.Now()
	if s.lock, err = st.sys.lock(ctx, s.net.fd, lockName, st.patience); err != nil {
		s.net.close()
		if errors.Is(err, flock.ErrBusy) {
			return nil, failure.Of(ErrBusy, "another process held %s/%s for %v: try again, or look for an IPAM plugin that hangs",
				s.net.path, lockName, time.Since(began).Round(time.Millisecond))
		}
		return nil, st.unusable(s.net.fault("lock", lockName, err))
	}
	s.openSide(data)
	s.readMark()
	if s.mtime, err = s.net.mtime(); err != nil {
		s.close()
		return nil, st.unusable(err)
	}
	return s, nil
}

// existing does the work on a network that has a directory; without one it does nothing.
func (st *Store) existing(ctx context.Context, work func(*session) error) error {
	s, err := st.enter(ctx)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.close()
	return st.unusable(work(s))
}

// unusable adds the key and the remedy to errors of the operating system.
func (st *Store) unusable(err error) error {
	var pathError *fs.PathError
	if !errors.As(err, &pathError) {
		return err
	}
	remedy := advice(err)
	if remedy == "" {
		return fmt.Errorf("ipam.dataDir %s is not usable: %w", st.DataDir, err)
	}
	return fmt.Errorf("ipam.dataDir %s is not usable, %s: %w", st.DataDir, remedy, err)
}

// openSide does without our directory where it has to: a DEL has to work on a full disk.
func (s *session) openSide(data folder) {
	all, err := data.makeSub(sideDir)
	if err == nil {
		defer all.close()
		var side folder
		if side, err = all.makeSub(s.network); err == nil {
			s.side = &side
			return
		}
	}
	slog.Warn("host-local works without its index", "network", s.network, "error", err)
}

// close ends the call. The stamp comes last: whatever ends the process before
// that leaves a directory that the index does not fit, and is rebuilt.
func (s *session) close() {
	if s.index != nil {
		s.commit()
		s.index.close()
	}
	if s.side != nil {
		s.side.close()
	}
	s.net.sys.close(s.lock) // releases the lock
	s.net.close()
}

// changing makes or removes a file of the directory. Who removes the lock by hand, or does not ask for it, may change the
// directory at the same time: that shows by an mtime that is not ours.
func (s *session) changing(change func() error) error {
	s.observe()
	err := change()
	if mtime, statErr := s.net.mtime(); statErr == nil {
		s.mtime = mtime
	} else {
		s.apart = true
	}
	return err
}

// observe notes a change by others.
func (s *session) observe() {
	if mtime, err := s.net.mtime(); err != nil || mtime != s.mtime {
		s.apart = true
	}
}

// An entry is a reservation as it lies in the directory.
type entry struct {
	addr  netip.Addr
	owner Owner // without interface: made by hand, or by an old or a killed upstream; zero: an empty file, or none at all
}

// parseName says which address a file of the directory reserves, if any.
func parseName(name string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(name)
	return addr, err == nil && addr.String() == name
}

// scan reads all reservations. An error says that there are more, and the rest is whole: who needs all of them fails.
func (s *session) scan(each func(fd int, e entry)) ([]entry, error) {
	names, err := s.net.names()
	if err != nil {
		return nil, err
	}
	var entries []entry
	var unread []error
	for _, name := range names {
		addr, ok := parseName(name)
		if !ok {
			continue
		}
		e, err := s.readEntry(addr, each)
		switch {
		case isNotExist(err): // removed by others
		case err != nil:
			unread = append(unread, err)
		default:
			entries = append(entries, e)
		}
	}
	return entries, errors.Join(unread...)
}

func (s *session) readEntry(addr netip.Addr, each func(fd int, e entry)) (entry, error) {
	e := entry{addr: addr}
	name := addr.String()
	fd, err := s.net.open(name, unix.O_RDONLY)
	if err == nil {
		defer s.net.sys.close(fd)
		var content []byte
		if content, err = s.net.readAll(fd, name); err == nil {
			e.owner = parseOwner(content)
			if each != nil {
				each(fd, e)
			}
		}
	}
	if notAFile(err) {
		return e, nil // it keeps its address taken, and is nobody's
	}
	return e, err
}

// holder reads who holds a reserved address. The error is fs.ErrNotExist if nobody does.
func (s *session) holder(addr netip.Addr) (Owner, error) {
	e, err := s.readEntry(addr, nil)
	return e.owner, err
}

// notAFile says of what has the name of a reservation that it is a directory, a link, a socket or the like. Any other error
// of reading says nothing about it.
func notAFile(err error) bool {
	return is(err, unix.EISDIR, unix.ELOOP, unix.ENXIO, unix.ESPIPE, unix.EFBIG)
}

// removeNetwork removes the directory of a network and ours beside it, unless somebody else's files are in them. Ours goes
// first: without it, who finds the network gone knows that all is done.
func (s *session) removeNetwork(data folder) error {
	errs := []error{s.net.clear(isHostLocals)}
	if s.side != nil {
		errs = append(errs, s.side.clear(func(string) bool { return true }))
	}
	errs = append(errs, removeSide(data, s.network))
	names, err := s.net.names()
	if err == nil && len(names) == 1 && names[0] == lockName {
		// The lock goes last: in a directory that stays, it stays.
		errs = append(errs, s.net.remove(lockName), data.removeDir(s.network))
	}
	return errors.Join(append(errs, err)...)
}

// isHostLocals says whether a file of a network's directory, but for the lock, is host-local's.
func isHostLocals(name string) bool {
	_, ok := parseName(name)
	return ok || strings.HasPrefix(name, lastReservedPrefix) || name == draftName
}

// removeSide removes our directory of a network that has none.
func removeSide(data folder, network string) error {
	all, err := data.sub(sideDir)
	if err != nil {
		return nil // there is none, or none that is ours
	}
	defer all.close()
	side, err := all.sub(network)
	if err != nil {
		return nil // likewise
	}
	defer side.close()
	return errors.Join(side.clear(func(string) bool { return true }), all.removeDir(network))
}

// dir is the path of a network's directory.
func (c Config) dir() string { return filepath.Join(c.DataDir, c.Network) }
