package hostlocal

import (
	"net/netip"
	"slices"
	"time"
)

// Reservation is an address that somebody holds.
type Reservation struct {
	Addr netip.Addr
	// Owner is zero for an empty file, which upstream leaves when it is killed.
	Owner Owner
	// Void: the owner's namespace or boot is certainly gone, or there is no owner.
	Void bool
	// Made is when the reservation was written.
	Made time.Time
}

// Reservations lists what is held on a network, by address. It takes no lock and writes nothing. A directory that does not
// exist holds nothing. Errors: those of the operating system.
func Reservations(c Config) ([]Reservation, error) {
	m := thisMachine()
	s, err := m.look(c)
	if isNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, c.unusable(err)
	}
	defer s.net.close()
	entries, err := s.scan()
	if err != nil {
		return nil, c.unusable(err)
	}
	var all []Reservation
	for _, e := range entries {
		st, err := s.net.stat(e.addr.String())
		if err != nil {
			continue // released meanwhile
		}
		all = append(all, Reservation{Addr: e.addr, Owner: e.owner, Void: s.free(m, e.addr), Made: time.Unix(st.Mtim.Unix())})
	}
	slices.SortFunc(all, func(a, b Reservation) int { return a.Addr.Compare(b.Addr) })
	return all, nil
}
