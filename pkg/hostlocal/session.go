package hostlocal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// sideDir holds what is ours. No network is called like this, for their names
// begin with a letter or digit.
const sideDir = ".fairway"

// A session is one call's work on a network's directory, under its lock.
type session struct {
	network string
	net     folder  // upstream's files
	side    *folder // ours; nil where it cannot be made, on a full disk for instance
	lock    int
	index   *index
	mounts  uint64 // mount namespace in which recorded paths are meaningful
	changed bool
	earlier bool // the mark is of an earlier boot: what belongs to it is void
}

// create is enter for a network that may not have a directory yet.
func (m machine) create(ctx context.Context, c Config) (*session, error) {
	s, err := m.enter(ctx, c)
	if !isNotExist(err) {
		return s, err
	}
	if err := os.MkdirAll(c.DataDir, 0o755); err != nil {
		return nil, c.unusable(err)
	}
	data, err := openFolder(c.DataDir)
	if err != nil {
		return nil, c.unusable(err)
	}
	defer data.close()
	network, err := data.makeSub(c.Network)
	if err != nil {
		return nil, c.unusable(err)
	}
	network.close()
	return m.enter(ctx, c)
}

// enter locks an existing network; without one, the error is fs.ErrNotExist.
func (m machine) enter(ctx context.Context, c Config) (*session, error) {
	data, err := openFolder(c.DataDir)
	if err != nil {
		return nil, c.unusable(err)
	}
	defer data.close()
	s := &session{network: c.Network, mounts: m.mounts}
	if s.net, err = data.sub(c.Network); err != nil {
		return nil, c.unusable(err)
	}
	if s.lock, err = takeLock(ctx, s.net, m.patience); err != nil {
		s.net.close()
		return nil, c.unusable(err)
	}
	s.openSide(data)
	if err := s.prepare(m); err != nil {
		s.close()
		return nil, c.unusable(err)
	}
	return s, nil
}

// unusable adds the key to errors of the operating system.
func (c Config) unusable(err error) error {
	var pathError *fs.PathError
	if !errors.As(err, &pathError) {
		return err
	}
	return fmt.Errorf("ipam.dataDir %s is not usable, name a directory that can be written: %w", c.DataDir, err)
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

// prepare makes the session see the reservations of this boot.
func (s *session) prepare(m machine) error {
	if err := s.voidEarlierBoot(m); err != nil {
		return err
	}
	st, err := s.net.stat(".")
	if err != nil {
		return err
	}
	if s.index = openIndex(s.side, st.Mtim); s.index != nil {
		return nil
	}
	return s.rebuild()
}

// rebuild reads every reservation, after somebody else changed the directory.
func (s *session) rebuild() error {
	entries, err := s.scan()
	if err != nil {
		return err
	}
	slots := make([]slot, 0, len(entries))
	for _, e := range entries {
		slots = append(slots, slot{hash: e.owner.hash(), addr: e.addr})
	}
	if s.index != nil {
		s.index.close()
	}
	s.index = buildIndex(s.side, slots)
	s.changed = true
	return nil
}

// close ends the call. The stamp comes last: whatever ends the process before
// that leaves a directory that the index does not fit, and is rebuilt.
func (s *session) close() {
	if s.index != nil {
		if s.changed {
			s.index.commit(s.net)
		}
		s.index.close()
	}
	if s.side != nil {
		s.side.close()
	}
	_ = unix.Close(s.lock) // releases the lock; nothing was written
	s.net.close()
}

// An entry is a reservation as it lies in the directory.
type entry struct {
	addr  netip.Addr
	owner Owner // zero: an empty file, left by a crash of upstream
}

// scan reads all reservations. Names that are no address are not ours to judge.
func (s *session) scan() ([]entry, error) {
	names, err := s.net.names()
	if err != nil {
		return nil, err
	}
	var entries []entry
	for _, name := range names {
		addr, err := netip.ParseAddr(name)
		if err != nil || addr.String() != name {
			continue
		}
		content, err := s.net.read(name)
		if err != nil {
			continue // not a file: it keeps its address taken, and has no owner
		}
		entries = append(entries, entry{addr: addr, owner: parseOwner(content)})
	}
	return entries, nil
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
