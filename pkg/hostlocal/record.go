package hostlocal

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The attribute of a reservation's file that says what it was made for. As part
// of the file it appears and vanishes with it, and upstream does not see it.
// tmpfs has user attributes since Linux 6.6 and trusted ones, for root, long before.
const (
	userAttribute    = "user.fairway.netns"
	trustedAttribute = "trusted.fairway.netns"
	recordMax        = 4096 + 128 // PATH_MAX and the numbers before it
)

// A record is the network namespace of a reservation. It is meaningful during
// one boot and in one mount namespace.
type record struct {
	boot   string
	mounts uint64
	dev    uint64
	inode  uint64
	path   string
}

// newRecord describes the namespace at path; nil if there is none, or if it could
// never be judged.
func (m machine) newRecord(path string) *record {
	var st unix.Stat_t
	if path == "" || m.bootID == "" || m.mounts == 0 || unix.Stat(path, &st) != nil {
		return nil
	}
	return &record{boot: m.bootID, mounts: m.mounts, dev: st.Dev, inode: st.Ino, path: path}
}

func (r record) String() string {
	return fmt.Sprintf("%s %d %d:%d %s", r.boot, r.mounts, r.dev, r.inode, r.path)
}

func parseRecord(text string) (record, bool) {
	fields := strings.SplitN(text, " ", 4)
	if len(fields) < 4 || fields[0] == "" || fields[3] == "" {
		return record{}, false
	}
	devText, inodeText, _ := strings.Cut(fields[2], ":")
	mounts, mountsErr := strconv.ParseUint(fields[1], 10, 64)
	dev, devErr := strconv.ParseUint(devText, 10, 64)
	inode, inodeErr := strconv.ParseUint(inodeText, 10, 64)
	ok := mountsErr == nil && devErr == nil && inodeErr == nil
	return record{boot: fields[0], mounts: mounts, dev: dev, inode: inode, path: fields[3]}, ok
}

// vanished reports whether the namespace is certainly gone: the machine was
// started again, or its path is gone or leads to another one. In doubt it is there.
func (r record) vanished(m machine) bool {
	if r.boot != m.bootID {
		return m.bootID != ""
	}
	if r.mounts != m.mounts {
		return false // the path may mean something else here
	}
	var st unix.Stat_t
	switch unix.Stat(r.path, &st) {
	case nil:
		return st.Dev != r.dev || st.Ino != r.inode
	case unix.ENOENT, unix.ENOTDIR, unix.ESRCH:
		return true
	}
	return false
}

// attach puts the record on an open file. Where no attribute can be stored there
// is none, and the reservation is never reclaimed.
func (r record) attach(fd int) {
	if unix.Fsetxattr(fd, userAttribute, []byte(r.String()), 0) != nil {
		_ = unix.Fsetxattr(fd, trustedAttribute, []byte(r.String()), 0) // see above
	}
}

// record reads the record of a reservation, if it has one.
func (s *session) record(name string) (record, bool) {
	fd, err := s.net.open(name, unix.O_RDONLY)
	if err != nil {
		return record{}, false
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written
	text := make([]byte, recordMax)
	n, err := unix.Fgetxattr(fd, userAttribute, text)
	if err != nil {
		n, err = unix.Fgetxattr(fd, trustedAttribute, text)
	}
	if err != nil {
		return record{}, false
	}
	return parseRecord(string(text[:n]))
}

// renew replaces the record of a reservation that its owner takes up again: the
// old namespace may be gone, and the address must not be reclaimed with it.
func (s *session) renew(name string, r *record) error {
	fd, err := s.net.open(name, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }() // attributes need no flush
	if r != nil {
		r.attach(fd)
		return nil
	}
	_ = unix.Fremovexattr(fd, userAttribute)    // there may be none
	_ = unix.Fremovexattr(fd, trustedAttribute) // likewise
	return nil
}
