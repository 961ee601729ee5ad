package hostlocal

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// The header on disk, little endian: magic 8, slots 8, used 8, stamp seconds 8,
// stamp nanoseconds 8, zero 20, check 4. It is one sector at most, so that it is
// written as a whole.
const (
	headerSize  = 64
	headerMagic = "fairway1"
	slotsMax    = 1 << 32 // keeps sizes far from overflow when a header lies
)

// header describes the table behind it. The stamp is the mtime of the network's
// directory when the table was last in step with it.
type header struct {
	slots uint64 // a power of two
	used  uint64
	stamp unix.Timespec
}

func (h header) bytes() []byte {
	b := make([]byte, headerSize)
	copy(b, headerMagic)
	binary.LittleEndian.PutUint64(b[8:], h.slots)
	binary.LittleEndian.PutUint64(b[16:], h.used)
	binary.LittleEndian.PutUint64(b[24:], uint64(h.stamp.Sec))
	binary.LittleEndian.PutUint64(b[32:], uint64(h.stamp.Nsec))
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
	if h.slots == 0 || h.slots > slotsMax || h.slots&(h.slots-1) != 0 || h.used >= h.slots {
		return header{}, errDamaged
	}
	return h, nil
}
