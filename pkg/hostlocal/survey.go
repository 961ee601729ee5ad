package hostlocal

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// look opens what is there, to read only and without the lock.
func (st *Store) look() (*session, error) {
	data, err := openFolder(st.sys, st.DataDir)
	if err != nil {
		return nil, err
	}
	defer data.close()
	s := &session{network: st.Network, boot: st.boot, gone: st.Gone}
	if s.net, err = data.subOrLink(st.Network); err != nil {
		return nil, err
	}
	mark, err := data.read(filepath.Join(sideDir, st.Network, markName))
	s.current = err == nil && string(mark) == st.boot.String()
	return s, nil
}

// Reserved lists the addresses of a network that are reserved in this boot. It takes no lock and writes nothing. A network
// without a directory has none.
func (st *Store) Reserved() ([]netip.Addr, error) {
	s, err := st.look()
	if isNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, st.unusable(err)
	}
	defer s.net.close()
	names, err := s.net.names()
	if err != nil {
		return nil, st.unusable(err)
	}
	var addrs []netip.Addr
	for _, name := range names {
		addr, ok := parseName(name)
		if !ok {
			continue
		}
		if void, err := s.isVoid(addr); void || isNotExist(err) {
			continue
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

// Reservation is an address that somebody holds.
type Reservation struct {
	Addr netip.Addr
	// Owner has no interface if the file was made by hand, or by a host-local of long ago. It is zero for an empty file.
	Owner Owner
	// Void: the owner's namespace or boot is certainly gone.
	Void bool
	// Lives: the record names the owner's namespace, and the kernel does not prove that it is gone. It takes a Store with Gone.
	Lives bool
	// Made is when the reservation was written.
	Made time.Time
}

// Reservations lists what is held on a network, by address. It takes no lock and writes nothing. A directory that does not
// exist holds nothing. Errors: those of the operating system, beside what could be read.
func (st *Store) Reservations() ([]Reservation, error) {
	s, err := st.look()
	if isNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, st.unusable(err)
	}
	defer s.net.close()
	entries, unread := s.scan(nil)
	var all []Reservation
	for _, e := range entries {
		made, err := s.net.stat(e.addr.String())
		if err != nil {
			continue // released meanwhile
		}
		holder, r, err := s.holderAndRecord(e.addr)
		void := err == nil && s.isGone(context.Background(), holder, r)
		lives := err == nil && !void && s.gone != nil && r.netns.Mark != ""
		all = append(all, Reservation{Addr: e.addr, Owner: e.owner, Void: void, Lives: lives, Made: time.Unix(made.Mtim.Unix())})
	}
	slices.SortFunc(all, func(a, b Reservation) int { return a.Addr.Compare(b.Addr) })
	return all, st.unusable(unread)
}

// Status reports whether an Add can work. It takes no lock and
// writes nothing. A directory that does not exist yet is fine if it can be made. A
// range without a free address is a warning, as the next container that ends gives one back.
// Errors: those of the operating system.
func (st *Store) Status(ctx context.Context) error {
	if _, err := st.dns(); err != nil {
		return err
	}
	if err := st.writable(); err != nil {
		return st.unusable(err)
	}
	full, err := st.Full(ctx)
	for _, sentence := range full {
		slog.Warn(sentence, "network", st.Network)
	}
	return err
}

// Full says of each range set without a free address what it says to an Add.
func (st *Store) Full(ctx context.Context) (sentences []string, err error) {
	s, err := st.look()
	if isNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, st.unusable(err)
	}
	defer s.net.close()
	for i, set := range st.Ranges {
		a := allocation{set: set, index: i, gateways: st.gateways()}
		free, err := s.anyFree(ctx, a)
		if err != nil {
			return nil, st.unusable(err)
		}
		if !free {
			sentences = append(sentences, exhausted(a).Error())
		}
	}
	return sentences, nil
}

// anyFree looks where Add would look.
func (s *session) anyFree(ctx context.Context, a allocation) (bool, error) {
	taken, err := s.taken(a.set)
	if err != nil {
		return false, err
	}
	for addr := range a.set.after(netip.Addr{}, a.gateways) {
		if !taken[addr] {
			return true, nil
		}
	}
	probed := 0
	for addr := range a.set.after(netip.Addr{}, a.gateways) {
		if probed++; probed > probes || ctx.Err() != nil {
			break
		}
		if holder, r, err := s.holderAndRecord(addr); err == nil && s.isGone(ctx, holder, r) {
			return true, nil
		}
	}
	return false, ctx.Err()
}

// writable asks the nearest directory that exists, and its file system. A read-only mount answers root, too.
func (c Config) writable() error {
	for path := c.dir(); ; path = filepath.Dir(path) {
		err := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
		if err == nil {
			return hasRoom(path)
		}
		if _, statErr := os.Lstat(path); err != unix.ENOENT || statErr == nil || path == filepath.Dir(path) {
			return &os.PathError{Op: "access", Path: path, Err: err} // ENOENT is that of a link to nowhere
		}
	}
}

func hasRoom(path string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	room := fs.Bavail
	if unix.Geteuid() == 0 {
		room = fs.Bfree
	}
	if fs.Blocks > 0 && room == 0 || fs.Files > 0 && fs.Ffree == 0 {
		return &os.PathError{Op: "statfs", Path: path, Err: fmt.Errorf("%w", unix.ENOSPC)}
	}
	return nil
}
