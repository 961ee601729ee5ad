package hostlocal

import (
	"context"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Status reports whether an Add is likely to succeed. It takes no lock and
// writes nothing. A directory that does not exist yet is fine if it can be made.
// Errors: ErrExhausted, and those of the operating system.
func Status(ctx context.Context, c Config) error {
	return thisMachine().status(ctx, c)
}

func (m machine) status(ctx context.Context, c Config) error {
	dir := filepath.Join(c.DataDir, c.Network)
	if err := writable(dir); err != nil {
		return fmt.Errorf("ipam.dataDir %s is not usable, name a directory that can be written: %w", c.DataDir, err)
	}
	s, err := m.look(c)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return c.unusable(err)
	}
	defer s.net.close()
	for i, set := range c.Ranges {
		if err := s.anyFree(ctx, m, i, set); err != nil {
			return err
		}
	}
	return nil
}

// look opens what is there, to read only.
func (m machine) look(c Config) (*session, error) {
	data, err := openFolder(c.DataDir)
	if err != nil {
		return nil, err
	}
	defer data.close()
	s := &session{network: c.Network}
	if s.net, err = data.sub(c.Network); err != nil {
		return nil, err
	}
	mark, err := data.read(filepath.Join(sideDir, c.Network, bootMark))
	s.earlier = err == nil && m.bootID != "" && string(mark) != m.bootID
	return s, nil
}

// anyFree looks where Add would look.
func (s *session) anyFree(ctx context.Context, m machine, index int, set RangeSet) error {
	last := s.cursor(index)
	for addr := range set.after(last) {
		if _, err := s.net.stat(addr.String()); isNotExist(err) {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	for addr := range set.after(last) {
		if s.free(m, addr) {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return exhausted(index, set)
}

// writable asks the nearest directory that exists. A read-only mount answers root, too.
func writable(path string) error {
	for {
		err := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
		if err != unix.ENOENT || path == filepath.Dir(path) {
			if err != nil {
				return folder{path: path}.fault("access", "", err)
			}
			return nil
		}
		path = filepath.Dir(path)
	}
}
