package hostlocal

import (
	"log/slog"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"
)

// buildIndex writes a table of the given slots anew. Where that fails, the
// table lives in memory for this call.
func buildIndex(side *folder, all []slot) *index {
	h := header{slots: slotsMin, used: uint64(len(all))}
	for h.slots < 4*h.used {
		h.slots *= 2
	}
	x := &index{header: h, at: image(h, all)}
	if side == nil {
		return x
	}
	fd, err := writeIndex(*side, x.at.(memory))
	if err != nil {
		slog.Warn("host-local works without its index", "error", err)
		return x
	}
	x.side, x.at = side, file(fd)
	return x
}

// image lays the table out. Its stamp is zero, which fits no directory.
func image(h header, all []slot) memory {
	table := make([]slot, h.slots)
	for _, s := range all {
		position := s.hash % h.slots
		for !table[position].empty() {
			position = (position + 1) % h.slots
		}
		table[position] = s
	}
	m := make(memory, 0, headerSize+slotSize*h.slots)
	m = append(m, h.bytes()...)
	for _, s := range table {
		m = s.append(m)
	}
	return m
}

// writeIndex works in place: cut to nothing first, the file is void until it is whole.
func writeIndex(side folder, m memory) (fd int, err error) {
	fd, err = side.open(indexName, unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC)
	if err != nil {
		return -1, err
	}
	if _, err := file(fd).WriteAt(m, 0); err != nil {
		_ = unix.Close(fd) // the write has reported the error
		return -1, side.fault("write", indexName, err)
	}
	return fd, nil
}

// grow doubles the table from its own slots, without reading the directory.
func (x *index) grow() {
	b := make([]byte, slotSize*x.slots)
	if _, err := x.at.ReadAt(b, headerSize); err != nil {
		x.stale = true
		return
	}
	var all []slot
	for ; len(b) > 0; b = b[slotSize:] {
		s, err := parseSlot(b)
		if err != nil {
			x.stale = true
			return
		}
		if !s.empty() {
			all = append(all, s)
		}
	}
	x.close()
	*x = *buildIndex(x.side, all)
}

// commit declares the index to be in step with the directory, by giving both
// the same stamp. Any change by others gives the directory another mtime. The
// stamp lies in the second before now, where the kernel sets none, and is
// random, so that no two stamps are equal. Header first: until the directory
// follows, they differ.
func (x *index) commit(d folder) {
	if x.side == nil || x.stale {
		return
	}
	x.stamp = unix.Timespec{Sec: time.Now().Unix() - 1, Nsec: rand.Int64N(int64(time.Second))}
	if _, err := x.at.WriteAt(x.header.bytes(), 0); err != nil {
		return // no stamp: the next call rebuilds
	}
	now := unix.Timespec{Nsec: unix.UTIME_OMIT}
	_ = unix.UtimesNanoAt(d.fd, ".", []unix.Timespec{now, x.stamp}, 0) // the same
}
