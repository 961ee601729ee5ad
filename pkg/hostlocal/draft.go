package hostlocal

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// draftName is where a draft lies on file systems without O_TMPFILE or hard links. Upstream takes such a name for no address.
const draftName = ".new"

// A draft is a reservation's file, complete but for its name: giving it one makes
// the reservation, with its content, in one step.
type draft struct {
	s     *session
	fd    int
	named bool // it lies in the directory as draftName
	owner Owner
	about record
}

// draft writes a file without a name.
func (s *session) draft(o Owner, r record) (*draft, error) {
	d := &draft{s: s, owner: o, about: r}
	fd, err := s.net.sys.openat(s.net.fd, ".", unix.O_TMPFILE|unix.O_WRONLY, 0o600)
	switch {
	case err == nil:
		d.fd = fd
		return d, d.fill()
	case is(err, unix.EOPNOTSUPP, unix.EISDIR, unix.EINVAL, unix.ENOSYS):
		return d, d.openNamed()
	}
	return d, s.net.fault("create a file in", "", err)
}

func (d *draft) fill() error {
	if err := writeAll(d.s.net.sys, d.fd, []byte(d.owner.content())); err != nil {
		d.close()
		return d.s.net.fault("write", "", err)
	}
	// Where no attribute can be stored there is none, and the reservation is never reclaimed.
	_ = d.about.attach(d.s.net.sys, d.fd)
	return nil
}

// openNamed writes the file under a name that is none of an address.
func (d *draft) openNamed() error {
	return d.s.changing(func() error {
		fd, err := d.s.net.create(draftName, unix.O_WRONLY)
		if err != nil {
			return err
		}
		d.fd, d.named = fd, true
		return d.fill()
	})
}

// reserve makes the draft the reservation of an address. The error is unix.EEXIST, bare, if that is reserved.
func (d *draft) reserve(address string) error {
	net := d.s.net
	if !d.named {
		err := d.s.changing(func() error { return d.link(address) })
		if !is(err, unix.EPERM, unix.EXDEV, unix.EOPNOTSUPP, unix.ENOSYS, unix.EMLINK, unix.ENOENT) {
			return net.unlessTaken("link", address, err)
		}
		d.close()
		if err := d.openNamed(); err != nil {
			return err
		}
	}
	err := d.s.changing(func() error {
		err := net.sys.renameat(net.fd, draftName, net.fd, address, unix.RENAME_NOREPLACE)
		if !is(err, unix.EINVAL, unix.ENOSYS) {
			return err
		}
		// The file system cannot rename without replacing: the lock keeps others away.
		if _, err := net.stat(address); !isNotExist(err) {
			return unix.EEXIST
		}
		return net.sys.renameat(net.fd, draftName, net.fd, address, 0)
	})
	if err == nil {
		d.named = false
	}
	return net.unlessTaken("rename", address, err)
}

func (d *draft) link(address string) error {
	sys, net := d.s.net.sys, d.s.net
	err := sys.linkat(d.fd, "", net.fd, address, unix.AT_EMPTY_PATH)
	if is(err, unix.ENOENT) {
		// Before Linux 6.10 this asks for CAP_DAC_READ_SEARCH; open(2) names the way round.
		err = sys.linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(d.fd), net.fd, address, unix.AT_SYMLINK_FOLLOW)
	}
	return err
}

func (d folder) unlessTaken(op, address string, err error) error {
	if err == nil || is(err, unix.EEXIST) {
		return err
	}
	return d.fault(op, address, err)
}

func (d *draft) close() {
	if d.fd < 0 {
		return
	}
	d.s.net.sys.close(d.fd) // written to the page cache; durability beyond a boot is not wanted
	d.fd = -1
	if d.named {
		_ = d.s.changing(func() error { return d.s.net.remove(draftName) }) // the next draft removes it as well
	}
}
