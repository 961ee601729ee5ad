package hostlocal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

const lastReservedPrefix = "last_reserved_ip."

// lastReserved is the file where the round robin of a range set goes on.
func lastReserved(set int) string {
	return lastReservedPrefix + strconv.Itoa(set)
}

// cursor returns the address reserved last in a range set; zero if none is known.
func (s *session) cursor(set int) netip.Addr {
	text, err := s.net.read(lastReserved(set))
	if err != nil {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(string(text))
	if err != nil {
		return netip.Addr{} // cut short by a crash: the round robin begins anew
	}
	return a.Unmap()
}

// reserve takes a free address of the set for the owner.
func (s *session) reserve(ctx context.Context, m machine, a allocation) (netip.Addr, error) {
	d, err := s.draft(a.owner, a.record)
	if err != nil {
		return netip.Addr{}, err
	}
	defer d.close()
	addr := a.wanted
	if addr.IsValid() {
		err = s.takeExactly(m, d, addr)
	} else {
		addr, err = s.takeNext(ctx, m, d, a)
	}
	if err != nil {
		return netip.Addr{}, err
	}
	s.changed = true
	s.index.insert(slot{hash: a.owner.hash(), addr: addr})
	if err := s.net.overwrite(lastReserved(a.index), []byte(addr.String())); err != nil {
		// The reservation stands; only the next one does not begin behind it.
		slog.Warn("host-local cannot remember the last reserved address", "network", s.network, "error", err)
	}
	return addr, nil
}

// takeNext walks the set, and once more after reclaiming what nobody uses.
func (s *session) takeNext(ctx context.Context, m machine, d draft, a allocation) (netip.Addr, error) {
	addr, err := s.takeFree(ctx, d, a)
	if !errors.Is(err, ErrExhausted) {
		return addr, err
	}
	reclaimed, reclaimErr := s.reclaim(m, a.set)
	if reclaimErr != nil || reclaimed == 0 {
		return netip.Addr{}, errors.Join(err, reclaimErr)
	}
	return s.takeFree(ctx, d, a)
}

func (s *session) takeFree(ctx context.Context, d draft, a allocation) (netip.Addr, error) {
	for addr := range a.set.after(s.cursor(a.index)) {
		err := d.link(s.net, addr.String())
		if err == nil {
			return addr, nil
		}
		if !errors.Is(err, unix.EEXIST) {
			return netip.Addr{}, s.net.fault("link", addr.String(), err)
		}
		if ctx.Err() != nil {
			return netip.Addr{}, fmt.Errorf("search of range set %d for a free address: %w", a.index, ctx.Err())
		}
	}
	return netip.Addr{}, exhausted(a.index, a.set)
}

func exhausted(index int, set RangeSet) error {
	return problemf(ErrExhausted, "range set %d (%s) has no free address, all %d are reserved: let GC release those of containers that are gone, or configure a larger range",
		index, set, set.size())
}

func (s *session) takeExactly(m machine, d draft, addr netip.Addr) error {
	err := d.link(s.net, addr.String())
	if errors.Is(err, unix.EEXIST) && s.free(m, addr) {
		if err := s.release(entry{addr: addr, owner: s.holder(addr)}); err != nil {
			return err
		}
		err = d.link(s.net, addr.String())
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EEXIST):
		return problemf(ErrReserved, "the requested address %s is reserved for %s: request another one, or remove that container first", addr, s.holder(addr))
	}
	return s.net.fault("link", addr.String(), err)
}
