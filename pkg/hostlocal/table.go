package hostlocal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"net/netip"

	"golang.org/x/sys/unix"
)

// The header on disk, little endian: magic 8, slots 8, used 8, stamp seconds 8, stamp nanoseconds 8, probe 16, full 4, check 4.
// It is one sector at most, so that it is written as a whole.
const (
	headerSize  = 64
	headerMagic = "fairway1"
	slotsMax    = 1 << 32 // keeps sizes far from overflow when a header lies
)

// header describes the table behind it.
type header struct {
	slots uint64 // a power of two
	used  uint64
	// stamp is the mtime of the network's directory when the table was last in step with it.
	stamp unix.Timespec
	// probe is the address behind which the search for holders that are gone goes on; zero: at the first.
	probe netip.Addr
	// full is the key of a range set that has no free address; 0: of none.
	full uint32
}

func (h header) bytes() []byte {
	b := make([]byte, headerSize)
	copy(b, headerMagic)
	binary.LittleEndian.PutUint64(b[8:], h.slots)
	binary.LittleEndian.PutUint64(b[16:], h.used)
	binary.LittleEndian.PutUint64(b[24:], uint64(h.stamp.Sec))
	binary.LittleEndian.PutUint64(b[32:], uint64(h.stamp.Nsec))
	if h.probe.IsValid() {
		probe := h.probe.As16()
		copy(b[40:], probe[:])
	}
	binary.LittleEndian.PutUint32(b[56:], h.full)
	binary.LittleEndian.PutUint32(b[60:], checksum(b[:60]))
	return b
}

func parseHeader(b []byte) (header, error) {
	if len(b) < headerSize || !bytes.HasPrefix(b, []byte(headerMagic)) ||
		binary.LittleEndian.Uint32(b[60:]) != checksum(b[:60]) {
		return header{}, errDamaged
	}
	h := header{
		slots: binary.LittleEndian.Uint64(b[8:]),
		used:  binary.LittleEndian.Uint64(b[16:]),
	}
	h.stamp.Sec = int64(binary.LittleEndian.Uint64(b[24:]))
	h.stamp.Nsec = int64(binary.LittleEndian.Uint64(b[32:]))
	if probe := netip.AddrFrom16([16]byte(b[40:56])).Unmap(); !probe.IsUnspecified() || probe.Is4() {
		h.probe = probe
	}
	h.full = binary.LittleEndian.Uint32(b[56:])
	if h.slots == 0 || h.slots > slotsMax || h.slots&(h.slots-1) != 0 || h.used >= h.slots {
		return header{}, errDamaged
	}
	return h, nil
}

// A slot on disk, little endian: hash 8, address 16, kind 1, zero 3, check 4.
// An empty slot is not all zero, so that a hole left by a damaged file shows.
const (
	slotSize  = 32
	slotEmpty = 1
	slotV4    = 4
	slotV6    = 6
)

var errDamaged = errors.New("index is damaged")

// A slot says that the owner with this hash may hold this address; the zero
// address means an empty slot.
type slot struct {
	hash uint64
	addr netip.Addr
}

func (s slot) empty() bool { return !s.addr.IsValid() }

func (s slot) append(to []byte) []byte {
	var b [slotSize]byte
	binary.LittleEndian.PutUint64(b[0:], s.hash)
	b[24] = slotEmpty
	if !s.empty() {
		addr := s.addr.As16()
		copy(b[8:], addr[:])
		b[24] = slotV6
		if s.addr.Is4() {
			b[24] = slotV4
		}
	}
	binary.LittleEndian.PutUint32(b[28:], checksum(b[:28]))
	return append(to, b[:]...)
}

func parseSlot(b []byte) (slot, error) {
	if len(b) < slotSize || binary.LittleEndian.Uint32(b[28:]) != checksum(b[:28]) {
		return slot{}, errDamaged
	}
	s := slot{hash: binary.LittleEndian.Uint64(b)}
	addr := netip.AddrFrom16([16]byte(b[8:24]))
	switch b[24] {
	case slotEmpty:
		return slot{}, nil
	case slotV4:
		s.addr = addr.Unmap()
	case slotV6:
		s.addr = addr
	default:
		return slot{}, errDamaged
	}
	return s, nil
}

func checksum(b []byte) uint32 {
	h := fnv.New32a()
	_, _ = h.Write(b) // a hash.Hash never fails
	return h.Sum32()
}

// image lays a table out. Its stamp is zero, which fits no directory.
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

// storage is where a table lies: a file, or memory where no file can be written.
type storage interface {
	io.ReaderAt
	io.WriterAt
	close()
}

// file is a descriptor without the poller and finalizer of an os.File, which cost
// more than the few bytes read here.
type file struct {
	sys system
	fd  int
}

func (f file) ReadAt(b []byte, offset int64) (int, error) {
	n, err := f.sys.pread(f.fd, b, offset)
	if err == nil && n < len(b) {
		err = io.ErrUnexpectedEOF
	}
	return max(n, 0), err
}

func (f file) WriteAt(b []byte, offset int64) (int, error) {
	n, err := f.sys.pwrite(f.fd, b, offset)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return max(n, 0), err
}

func (f file) close() { f.sys.close(f.fd) }

// memory lives as long as the call.
type memory []byte

func (m memory) ReadAt(b []byte, offset int64) (int, error) {
	if offset+int64(len(b)) > int64(len(m)) {
		return 0, io.ErrUnexpectedEOF
	}
	return copy(b, m[offset:]), nil
}

func (m memory) WriteAt(b []byte, offset int64) (int, error) {
	if offset+int64(len(b)) > int64(len(m)) {
		return 0, io.ErrShortWrite
	}
	return copy(m[offset:], b), nil
}

func (m memory) close() {}
