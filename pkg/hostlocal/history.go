package hostlocal

import (
	"bytes"
	"net/netip"

	"golang.org/x/sys/unix"
)

// The history of a network is which addresses anybody has had in this boot. Nobody remembers a MAC for one that nobody had: it does not
// have to be announced to hundreds of neighbours.
//
// It is a line that names the boot, and a table of bits, one for each address by its hash: two addresses of one bit are announced for
// nothing. A history begins where all that was given is known, and only there: with the network's directory, and in a new boot of a
// directory that nobody else has changed since the last (indexState inStep). Without one, or after a change by others, each address may
// have had a holder. A killed call has marked its address, or has told nobody of it. A release
// that keeps no history, installed again between two that do, marks nothing until the next boot.
const (
	historyName   = "history"
	historyHeader = 256     // bytes, of which the line takes some
	historyBits   = 1 << 16 // 8 KiB, of which pages without a bit take no place on disk
)

// beginHistory begins one, unless another call of this boot was faster. Without it, addresses are announced.
func (s *session) beginHistory() {
	if s.side == nil || !s.boot.known() || len(s.boot.String()) >= historyHeader {
		return
	}
	if fd, err := s.openHistory(); err == nil {
		s.net.sys.close(fd)
		return
	}
	_ = s.side.replace(historyName, s.historyLine())
}

// forgetHistory ends one: others have changed the directory.
func (s *session) forgetHistory() {
	if s.side != nil {
		_ = s.side.remove(historyName) // where that cannot be done, nothing can be written to the index, either
	}
}

func (s *session) historyLine() []byte {
	return append([]byte(s.boot.String()), make([]byte, historyHeader-len(s.boot.String()))...)
}

// openHistory opens the one of this boot.
func (s *session) openHistory() (int, error) {
	fd, err := s.side.open(historyName, unix.O_RDWR)
	if err != nil {
		return -1, err
	}
	line := make([]byte, historyHeader)
	n, err := s.net.sys.pread(fd, line, 0)
	if err != nil || n < historyHeader || !bytes.Equal(line, s.historyLine()) {
		s.net.sys.close(fd)
		return -1, s.side.fault("read", historyName, unix.ESTALE)
	}
	return fd, nil
}

// isFirst marks an address as given, and says whether it is known that nobody had it in this boot.
func (s *session) isFirst(addr netip.Addr) bool {
	if s.side == nil || !s.boot.known() || s.apart {
		return false
	}
	fd, err := s.openHistory()
	if err != nil {
		return false
	}
	defer s.net.sys.close(fd)
	number := Owner{ContainerID: addr.String()}.hash() % historyBits
	at, mask := int64(historyHeader+number/8), byte(1)<<(number%8)
	bits := make([]byte, 1) // zero, too, beyond the end of the file
	if _, err := s.net.sys.pread(fd, bits, at); err != nil || bits[0]&mask != 0 {
		return false
	}
	bits[0] |= mask
	if n, err := s.net.sys.pwrite(fd, bits, at); err != nil || n != 1 {
		s.forgetHistory() // it would not know of this one
		return false
	}
	return true
}
