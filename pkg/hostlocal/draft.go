package hostlocal

import (
	"errors"
	"strconv"

	"golang.org/x/sys/unix"
)

// pendingName is where a draft lies on file systems without O_TMPFILE.
const pendingName = "pending"

// A draft is a reservation's file, complete but for its name: linking it makes
// the reservation, with its content, in one step.
type draft struct {
	fd   int
	side *folder // set if the draft lies there as pendingName
}

func (s *session) draft(o Owner, r *record) (draft, error) {
	d, err := s.openDraft()
	if err != nil {
		return draft{}, err
	}
	content := []byte(o.content())
	n, err := unix.Write(d.fd, content)
	if err == nil && n < len(content) {
		err = unix.ENOSPC
	}
	if err != nil {
		d.close()
		return draft{}, s.net.fault("write", "", err)
	}
	if r != nil {
		r.attach(d.fd)
	}
	return d, nil
}

func (s *session) openDraft() (draft, error) {
	fd, err := openat(s.net.fd, ".", unix.O_TMPFILE|unix.O_WRONLY, 0o600)
	switch {
	case err == nil:
		return draft{fd: fd}, nil
	case s.side == nil || !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR):
		return draft{}, s.net.fault("create a file in", "", err)
	}
	return s.openPending()
}

// openPending starts with a new file: one left by a crash may be the second
// name of a reservation.
func (s *session) openPending() (draft, error) {
	if err := s.side.remove(pendingName); err != nil {
		return draft{}, err
	}
	fd, err := s.side.open(pendingName, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return draft{}, err
	}
	return draft{fd: fd, side: s.side}, nil
}

// link makes the draft a reservation. The error is unix.EEXIST, bare, if the name is taken.
func (d draft) link(dir folder, name string) error {
	if d.side != nil {
		return unix.Linkat(d.side.fd, pendingName, dir.fd, name, 0)
	}
	err := unix.Linkat(d.fd, "", dir.fd, name, unix.AT_EMPTY_PATH)
	if err == unix.ENOENT {
		// Before Linux 6.10 this asks for CAP_DAC_READ_SEARCH; open(2) names the way round.
		err = unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(d.fd), dir.fd, name, unix.AT_SYMLINK_FOLLOW)
	}
	return err
}

func (d draft) close() {
	_ = unix.Close(d.fd) // written to the page cache; durability beyond a boot is not wanted
	if d.side != nil {
		_ = d.side.remove(pendingName) // the next draft removes it as well
	}
}
