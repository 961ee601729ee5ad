package hostlocal

import (
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	indexName = "index"
	slotsMin  = 256
	readAhead = 8 // slots; at half load nearly every run is shorter
)

// An index is a hash table from owner to addresses: open addressing, linear
// probing, at most half full, no tombstones. A call reads and writes a few
// slots of it however many reservations there are. It is a hint: what it says
// is checked against the files, and only what it does not say is believed.
type index struct {
	header
	side  *folder // where its file lies; nil: nowhere
	at    storage
	state indexState
}

// indexState is where in its life an index is. The stamp is an mtime of the network's directory that no kernel sets, so that
// any change to the directory, by whomever, parts the two.
//
//	inStep  its stamp is the directory's mtime: it has every reservation. Found so, or left so by commit.
//	ahead   this call has changed directory and table alike, or built the table: commit gives both a new stamp.
//	loose   it is complete for this call at most: it lies in memory, or a write to its file has failed. It gets no stamp,
//	        and the next call builds another.
//
// A table that may lack a reservation is never made: a directory that cannot be read whole ends the call.
type indexState int

const (
	inStep indexState = iota
	ahead
	loose
)

// prepare finds the index in step, or builds one.
func (s *session) prepare() error {
	if s.index = openIndex(s.side, s.mtime); s.index == nil {
		return s.rebuild()
	}
	if s.begins {
		s.beginHistory()
	}
	return nil
}

// rebuild reads every reservation, after somebody else changed the directory.
func (s *session) rebuild() error {
	mtime, err := s.net.mtime()
	if err != nil {
		return err
	}
	s.mtime, s.apart = mtime, false
	entries, err := s.scan(s.adopt)
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
	if s.begins && (!s.made || len(entries) == 0) { // who was faster in a new directory may know no history
		s.beginHistory()
	} else {
		s.forgetHistory()
	}
	return nil
}

// adopt records this boot with what upstream has reserved, which the next boot makes void.
func (s *session) adopt(fd int, e entry) {
	if !s.current || e.owner.IfName == "" {
		return
	}
	if r, err := readRecord(s.net.sys, fd); err == nil && r == (record{}) {
		_ = record{boot: s.boot}.attach(s.net.sys, fd) // where none can be stored, the reservation stays
	}
}

// commit declares the index to be in step with the directory, by giving both
// the same stamp. The stamp lies in the second before now, where the kernel sets
// none, and is random, so that no two stamps are equal. Header first: until the
// directory follows, they differ.
func (s *session) commit() {
	x := s.index
	if x.state != ahead {
		return
	}
	if s.observe(); s.apart || !s.net.sys.holds(s.net.fd, lockName, s.lock) {
		return // others work beside this session
	}
	x.stamp = unix.Timespec{Sec: time.Now().Unix() - 1, Nsec: rand.Int64N(int64(time.Second))}
	if _, err := x.at.WriteAt(x.header.bytes(), 0); err != nil {
		return // no stamp: the next call rebuilds
	}
	_ = s.net.sys.utimens(s.net.fd, x.stamp) // the same
}

// openIndex returns nil if there is no index, or if it is not in step with a directory of this mtime.
func openIndex(side *folder, mtime unix.Timespec) *index {
	if side == nil {
		return nil
	}
	fd, err := side.open(indexName, unix.O_RDWR)
	if err != nil {
		return nil
	}
	x := &index{side: side, at: file{side.sys, fd}}
	b := make([]byte, headerSize)
	_, readErr := x.at.ReadAt(b, 0)
	x.header, err = parseHeader(b)
	var st unix.Stat_t
	statErr := side.sys.fstat(fd, &st)
	if readErr != nil || err != nil || statErr != nil || x.stamp != mtime || st.Size != x.offset(x.slots) {
		x.close()
		return nil
	}
	return x
}

// buildIndex writes a table of the given slots anew. Where that fails, the
// table lives in memory for this call.
func buildIndex(side *folder, all []slot) *index {
	h := header{slots: slotsMin, used: uint64(len(all))}
	for h.slots < 4*h.used {
		h.slots *= 2
	}
	m := image(h, all)
	x := &index{header: h, at: m, state: loose}
	if side == nil {
		return x
	}
	fd, err := writeIndex(*side, m)
	if err != nil {
		slog.Warn("host-local works without its index", "error", err)
		return x
	}
	return &index{header: h, side: side, at: file{side.sys, fd}, state: ahead}
}

// writeIndex makes a new file: another session, of one who does not keep to the lock, may write to the old one.
func writeIndex(side folder, m memory) (fd int, err error) {
	fd, err = side.create(indexName+newSuffix, unix.O_RDWR)
	if err != nil {
		return -1, err
	}
	if err = writeAll(side.sys, fd, m); err == nil {
		err = side.sys.renameat(side.fd, indexName+newSuffix, side.fd, indexName, 0)
	}
	if err != nil {
		side.sys.close(fd)
		return -1, side.fault("write", indexName, err)
	}
	return fd, nil
}

func (x *index) close() { x.at.close() }

func (x *index) offset(position uint64) int64 {
	return headerSize + slotSize*int64(position)
}

// run returns the slots from position on up to the first empty one.
func (x *index) run(position uint64) ([]slot, error) {
	var run []slot
	for uint64(len(run)) < x.slots {
		next := (position + uint64(len(run))) % x.slots
		b := make([]byte, slotSize*min(readAhead, x.slots-next))
		if _, err := x.at.ReadAt(b, x.offset(next)); err != nil {
			return nil, err
		}
		for ; len(b) > 0; b = b[slotSize:] {
			s, err := parseSlot(b)
			if err != nil {
				return nil, err
			}
			if s.empty() {
				return run, nil
			}
			run = append(run, s)
		}
	}
	return nil, errDamaged // a table that is never full has an empty slot
}

// find returns the addresses that the owner with this hash may hold.
func (x *index) find(hash uint64) ([]netip.Addr, error) {
	run, err := x.run(hash % x.slots)
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, s := range run {
		if s.hash == hash {
			addrs = append(addrs, s.addr)
		}
	}
	return addrs, nil
}

// change runs a change to the table, whose failure makes the index loose.
func (x *index) change(write func() error) {
	if x.state == loose && x.side != nil {
		return
	}
	if err := write(); err != nil {
		x.state = loose
	} else if x.state == inStep {
		x.state = ahead
	}
}

// insert adds a slot.
func (x *index) insert(s slot) {
	x.change(func() error {
		home := s.hash % x.slots
		run, err := x.run(home)
		if err != nil {
			return err
		}
		if err := x.write(home+uint64(len(run)), s); err != nil {
			return err
		}
		if x.used++; x.used*2 > x.slots {
			return x.grow()
		}
		return nil
	})
}

// remove takes a slot out and closes the gap, so that runs stay whole.
func (x *index) remove(s slot) {
	x.change(func() error {
		home := s.hash % x.slots
		run, err := x.run(home)
		if err != nil {
			return err
		}
		gap := 0
		for gap < len(run) && run[gap] != s {
			gap++
		}
		if gap == len(run) {
			return nil
		}
		x.used--
		x.full = 0
		for i := gap + 1; i < len(run); i++ {
			// A slot may not move to before its home, which lies distance behind the start of the run.
			distance := (run[i].hash - home) % x.slots
			if uint64(gap) < distance && distance <= uint64(i) {
				continue
			}
			if err := x.write(home+uint64(gap), run[i]); err != nil {
				return err
			}
			gap = i
		}
		return x.write(home+uint64(gap), slot{})
	})
}

// setProbe remembers where the search for holders that are gone goes on.
func (x *index) setProbe(addr netip.Addr) {
	x.change(func() error { x.probe = addr; return nil })
}

// setFull remembers that a range set has no free address. It is so until an address is released: others who release one make
// the index void.
func (x *index) setFull(set uint32) {
	x.change(func() error { x.full = set; return nil })
}

func (x *index) write(position uint64, s slot) error {
	_, err := x.at.WriteAt(s.append(nil), x.offset(position%x.slots))
	return err
}

// grow doubles the table from its own slots, without reading the directory.
func (x *index) grow() error {
	b := make([]byte, slotSize*x.slots)
	if _, err := x.at.ReadAt(b, headerSize); err != nil {
		return err
	}
	var all []slot
	for ; len(b) > 0; b = b[slotSize:] {
		s, err := parseSlot(b)
		if err != nil {
			return err
		}
		if !s.empty() {
			all = append(all, s)
		}
	}
	x.close()
	grown := buildIndex(x.side, all)
	grown.probe, grown.full = x.probe, x.full
	*x = *grown
	return nil
}
