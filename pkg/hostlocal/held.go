package hostlocal

import (
	"errors"
	"net/netip"
	"slices"
)

// held returns the addresses of an owner, in order. What the index says is checked
// against the files; if a file disagrees, the index is rebuilt from them.
func (s *session) held(o Owner) ([]netip.Addr, error) {
	addrs, agreed, err := s.lookup(o)
	if err == nil && !agreed {
		if err = s.rebuild(); err == nil {
			// Whatever disagrees now is another owner with the same hash.
			addrs, _, err = s.lookup(o)
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs, err
}

func (s *session) lookup(o Owner) (addrs []netip.Addr, agreed bool, err error) {
	candidates, err := s.index.find(o.hash())
	if err != nil {
		return nil, false, nil // a table that cannot be read is built anew
	}
	agreed = true
	for _, a := range candidates {
		holder, err := s.holder(a)
		switch {
		case err != nil && !isNotExist(err):
			return nil, false, err
		case err == nil && holder == o:
			addrs = append(addrs, a)
		default:
			agreed = false
		}
	}
	return addrs, agreed, nil
}

// heldOrLegacy looks for reservations by an old host-local if there is no other.
func (s *session) heldOrLegacy(o Owner) ([]entry, error) {
	for _, o := range []Owner{o, o.legacy()} {
		addrs, err := s.held(o)
		if err != nil {
			return nil, err
		}
		entries := make([]entry, 0, len(addrs))
		for _, a := range addrs {
			entries = append(entries, entry{addr: a, owner: o})
		}
		if len(entries) > 0 {
			return entries, nil
		}
	}
	return nil, nil
}

// heldForSure is heldOrLegacy for who must not miss a reservation: that the index knows of none is believed only if it knows
// as many as there are files.
func (s *session) heldForSure(o Owner) ([]entry, error) {
	entries, err := s.heldOrLegacy(o)
	if err != nil || len(entries) > 0 {
		return entries, err
	}
	names, err := s.net.names()
	if err != nil {
		return nil, err
	}
	var reserved uint64
	for _, name := range names {
		if _, ok := parseName(name); ok {
			reserved++
		}
	}
	if reserved == s.index.used {
		return nil, nil
	}
	if err := s.rebuild(); err != nil {
		return nil, err
	}
	return s.heldOrLegacy(o)
}

// void says of a reservation whether it is an earlier boot's, in a directory that is not cleared of those.
func (s *session) isVoid(addr netip.Addr) (bool, error) {
	if s.current {
		return false, nil
	}
	r, err := s.record(addr.String())
	return s.boot.after(r.boot), err
}

// release gives an address back. The file goes first: without it the index is
// found to be out of step.
func (s *session) release(e entry) error {
	if err := s.changing(func() error { return s.net.remove(e.addr.String()) }); err != nil {
		return err
	}
	s.index.remove(slot{hash: e.owner.hash(), addr: e.addr})
	return nil
}

// releaseAll goes on past errors.
func (s *session) releaseAll(entries []entry) error {
	var errs []error
	for _, e := range entries {
		errs = append(errs, s.release(e))
	}
	return errors.Join(errs...)
}
