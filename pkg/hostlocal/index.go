package hostlocal

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	indexName = "index"
	slotsMin  = 256
	readAhead = 8 // slots; at half load nearly every run is shorter
)

// An index is a hash table from owner to addresses: open addressing, linear
// probing, at most half full, no tombstones. A call reads and writes a few
// slots of it however many reservations there are.
type index struct {
	header
	side  *folder // where it grows; nil: in memory
	at    storage
	stale bool // a write failed: it gets no stamp, and the next call rebuilds it
}

// openIndex returns nil if there is no index, or if it does not fit a
// directory with this mtime.
func openIndex(side *folder, mtime unix.Timespec) *index {
	if side == nil {
		return nil
	}
	fd, err := side.open(indexName, unix.O_RDWR)
	if err != nil {
		return nil
	}
	x := &index{side: side, at: file(fd)}
	b := make([]byte, headerSize)
	_, readErr := x.at.ReadAt(b, 0)
	x.header, err = parseHeader(b)
	var st unix.Stat_t
	statErr := unix.Fstat(fd, &st)
	if readErr != nil || err != nil || statErr != nil || x.stamp != mtime || st.Size != x.offset(x.slots) {
		x.close()
		return nil
	}
	return x
}

func (x *index) close() {
	_ = x.at.Close() // the writes have reported their errors
}

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

// insert adds a slot; a failure makes the index stale.
func (x *index) insert(s slot) {
	if x.stale {
		return
	}
	home := s.hash % x.slots
	run, err := x.run(home)
	if err != nil || x.write(home+uint64(len(run)), s) != nil {
		x.stale = true
		return
	}
	if x.used++; x.used*2 > x.slots {
		x.grow()
	}
}

// remove takes a slot out and closes the gap, so that runs stay whole.
func (x *index) remove(s slot) {
	if x.stale {
		return
	}
	home := s.hash % x.slots
	run, err := x.run(home)
	if err != nil {
		x.stale = true
		return
	}
	gap := 0
	for gap < len(run) && run[gap] != s {
		gap++
	}
	if gap == len(run) {
		return
	}
	x.used--
	for i := gap + 1; i < len(run); i++ {
		// A slot may not move to before its home, which lies distance behind the start of the run.
		distance := (run[i].hash - home) % x.slots
		if uint64(gap) < distance && distance <= uint64(i) {
			continue
		}
		x.stale = x.stale || x.write(home+uint64(gap), run[i]) != nil
		gap = i
	}
	x.stale = x.stale || x.write(home+uint64(gap), slot{}) != nil
}

func (x *index) write(position uint64, s slot) error {
	_, err := x.at.WriteAt(s.append(nil), x.offset(position%x.slots))
	return err
}
