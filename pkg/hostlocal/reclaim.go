package hostlocal

import (
	"log/slog"
	"net/netip"
)

// holder reads who holds a reserved address.
func (s *session) holder(addr netip.Addr) Owner {
	content, err := s.net.read(addr.String())
	if err != nil {
		return Owner{}
	}
	return parseOwner(content)
}

// free reports whether a reserved address is reserved for nobody: the file is
// empty, left by upstream killed while writing it, or its namespace or boot is gone.
func (s *session) free(m machine, addr netip.Addr) bool {
	name := addr.String()
	if st, err := s.net.stat(name); err != nil || st.Size == 0 {
		return isNotExist(err) || err == nil
	}
	if s.earlier {
		current, err := s.ofThisBoot(m, name)
		return err == nil && !current
	}
	r, ok := s.record(name)
	return ok && r.vanished(m)
}

// reclaim removes the reservations of a full range set that are for nobody.
func (s *session) reclaim(m machine, set RangeSet) (int, error) {
	entries, err := s.scan()
	if err != nil {
		return 0, err
	}
	reclaimed := 0
	for _, e := range entries {
		if _, ok := set.find(e.addr); !ok || !s.free(m, e.addr) {
			continue
		}
		if err := s.release(e); err != nil {
			return reclaimed, err
		}
		slog.Warn("host-local reclaimed an address that nobody uses: its network namespace is gone",
			"network", s.network, "address", e.addr, "owner", e.owner)
		reclaimed++
	}
	return reclaimed, nil
}
