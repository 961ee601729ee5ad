package hostlocal

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"net/netip"
)

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
