package hostlocal

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// Discard gives back all addresses of a network that is no more, and removes
// its directories. A file that is not host-local's stays, and its directory
// with it. A network without a directory is success. Errors: ErrBusy, and those
// of the operating system.
func Discard(ctx context.Context, c Config) error {
	return thisMachine().discard(ctx, c)
}

func (m machine) discard(ctx context.Context, c Config) error {
	s, err := m.enter(ctx, c)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.close()
	data, err := openFolder(c.DataDir)
	if err != nil {
		return c.unusable(err)
	}
	defer data.close()
	// The lock goes last, so that a call which is cut short can be made again.
	errs := []error{s.net.clear(isHostLocals), s.net.remove(lockName), data.removeDir(c.Network)}
	if s.side != nil {
		errs = append(errs, s.side.clear(func(string) bool { return true }))
		if side, err := data.sub(sideDir); err == nil {
			errs = append(errs, side.removeDir(c.Network))
			side.close()
		}
	}
	return c.unusable(errors.Join(errs...))
}

// isHostLocals says whether a file of a network's directory, but for the lock, is host-local's.
func isHostLocals(name string) bool {
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.String() == name || strings.HasPrefix(name, lastReservedPrefix)
}

// clear removes the files that match.
func (d folder) clear(match func(name string) bool) error {
	names, err := d.names()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if match(name) {
			errs = append(errs, d.remove(name))
		}
	}
	return errors.Join(errs...)
}

// removeDir removes a directory inside, unless something is in it.
func (d folder) removeDir(name string) error {
	err := unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR)
	if err != nil && err != unix.ENOENT && err != unix.ENOTEMPTY && err != unix.EEXIST {
		return d.fault("rmdir", name, err)
	}
	return nil
}
