package hostlocal

import (
	"context"
	"net/netip"
)

// Reserved lists the addresses of a network that are reserved in this boot. It takes no lock and writes nothing. Network and
// DataDir of the configuration are enough. A network without a directory has none.
func Reserved(c Config) ([]netip.Addr, error) { return thisMachine().reserved(c) }

func (m machine) reserved(c Config) ([]netip.Addr, error) {
	s, err := m.look(c)
	if isNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, c.unusable(err)
	}
	defer s.net.close()
	if s.earlier {
		return nil, nil
	}
	names, err := s.net.names()
	if err != nil {
		return nil, c.unusable(err)
	}
	var addrs []netip.Addr
	for _, name := range names {
		if addr, err := netip.ParseAddr(name); err == nil && addr.String() == name {
			addrs = append(addrs, addr)
		}
	}
	return addrs, nil
}

// Purge removes the reservations that an earlier boot has left, as the first Add would. Network and DataDir of the
// configuration are enough.
func Purge(ctx context.Context, c Config) error { return thisMachine().purge(ctx, c) }

func (m machine) purge(ctx context.Context, c Config) error {
	s, err := m.enter(ctx, c)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	s.close()
	return nil
}
