package hostlocal

import (
	"errors"
	"net/netip"
	"slices"
)

// held returns the addresses of an owner, in order. What the index says is checked
// against the files; if a file disagrees, the index is rebuilt from them.
func (s *session) held(o Owner) ([]netip.Addr, error) {
	addrs, agreed := s.lookup(o)
	if !agreed {
		if err := s.rebuild(); err != nil {
			return nil, err
		}
		// Whatever disagrees now is another owner with the same hash.
		addrs, _ = s.lookup(o)
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs, nil
}

func (s *session) lookup(o Owner) (addrs []netip.Addr, agreed bool) {
	candidates, err := s.index.find(o.hash())
	if err != nil {
		return nil, false
	}
	agreed = true
	for _, a := range candidates {
		if s.holder(a) == o {
			addrs = append(addrs, a)
		} else {
			agreed = false
		}
	}
	return addrs, agreed
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

// release gives an address back. The file goes first: without it the index is
// found to be out of step.
func (s *session) release(e entry) error {
	s.changed = true
	if err := s.net.remove(e.addr.String()); err != nil {
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
