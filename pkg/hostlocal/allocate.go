package hostlocal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/failure"
)

// An allocation is what one range set owes one owner.
type allocation struct {
	owner    Owner
	record   record
	set      RangeSet
	index    int          // of the set
	wanted   netip.Addr   // zero: any address
	gateways []netip.Addr // of all sets: none of them goes to a container
}

func (c Config) allocations(o Owner, r record) ([]allocation, error) {
	wanted, err := c.assign()
	if err != nil {
		return nil, err
	}
	all := make([]allocation, len(c.Ranges))
	for i, set := range c.Ranges {
		all[i] = allocation{owner: o, record: r, set: set, index: i, wanted: wanted[i], gateways: c.gateways()}
	}
	return all, nil
}

// grant is what fulfil gives: what was reserved for it, and whose records it has replaced.
type grant struct {
	addresses []Address
	fresh     []entry
	renewed   []renewal
}

// fulfil takes all allocations or none. Nothing of an earlier ADD is changed before all are taken.
func (s *session) fulfil(ctx context.Context, all []allocation, held []netip.Addr) (grant, error) {
	var g grant
	var resumed []netip.Addr
	for _, a := range all {
		addr, err := s.resume(a, held)
		if err == nil && addr.IsValid() {
			resumed = append(resumed, addr)
		} else if err == nil {
			if addr, err = s.reserve(ctx, a); err == nil {
				g.fresh = append(g.fresh, entry{addr: addr, owner: a.owner})
			}
		}
		if err != nil {
			return grant{}, errors.Join(err, s.releaseAll(g.fresh))
		}
		r, _ := a.set.find(addr)
		g.addresses = append(g.addresses, Address{Prefix: netip.PrefixFrom(addr, r.Subnet.Bits()), Gateway: r.Gateway})
	}
	for _, addr := range resumed {
		old, err := s.renew(addr.String(), all[0].record)
		if err != nil {
			return grant{}, errors.Join(err, s.restore(g.renewed), s.releaseAll(g.fresh))
		}
		g.renewed = append(g.renewed, old...)
	}
	for _, e := range g.fresh {
		s.remember(all, e.addr)
	}
	return g, nil
}

// resume returns the address of the set that the owner holds already, or the zero address.
func (s *session) resume(a allocation, held []netip.Addr) (addr netip.Addr, err error) {
	for _, h := range held {
		if _, inSet := a.set.find(h); !inSet || slices.Contains(a.gateways, h) {
			continue
		}
		if h == a.wanted || !addr.IsValid() {
			addr = h
		}
	}
	switch {
	case !addr.IsValid():
		return addr, s.refuseLegacy(a)
	case a.wanted.IsValid() && a.wanted != addr:
		return addr, failure.Of(ErrReserved, "%s holds %s and cannot get the requested address %s besides it: request %s, or run DEL first", a.owner, addr, a.wanted, addr)
	}
	return addr, nil
}

// refuseLegacy: a reservation without interface name may be that of any
// interface of the container. Upstream refuses a second one too.
func (s *session) refuseLegacy(a allocation) error {
	old, err := s.held(a.owner.legacy())
	if err != nil {
		return err
	}
	for _, h := range old {
		if _, ok := a.set.find(h); ok {
			return failure.Of(ErrReserved, "%s was reserved for container %s, without its interface, by an old host-local: run DEL for the container first", h, a.owner.ContainerID)
		}
	}
	return nil
}

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

// remember moves the round robin on. Without it the next reservation does not begin behind this one, and that is all.
func (s *session) remember(all []allocation, addr netip.Addr) {
	of := slices.IndexFunc(all, func(a allocation) bool {
		_, ok := a.set.find(addr)
		return ok
	})
	name, content := lastReserved(all[of].index), []byte(addr.String())
	err := s.net.overwrite(name, content)
	if isNotExist(err) {
		err = s.changing(func() error { return s.net.writeNew(name, content) })
	}
	if err != nil {
		slog.Warn("host-local cannot remember the last reserved address", "network", s.network, "error", err)
	}
}

// reserve takes a free address of the set for the owner.
func (s *session) reserve(ctx context.Context, a allocation) (netip.Addr, error) {
	d, err := s.draft(a.owner, a.record)
	if err != nil {
		return netip.Addr{}, err
	}
	defer d.close()
	addr := a.wanted
	if addr.IsValid() {
		err = s.takeExactly(ctx, d, addr)
	} else {
		addr, err = s.takeNext(ctx, d, a)
	}
	if err != nil {
		return netip.Addr{}, err
	}
	s.index.insert(slot{hash: a.owner.hash(), addr: addr})
	return addr, nil
}

func (s *session) takeExactly(ctx context.Context, d *draft, addr netip.Addr) error {
	err := d.reserve(addr.String())
	if !is(err, unix.EEXIST) {
		return err
	}
	holder, reclaimed, err := s.reclaim(ctx, addr)
	if err != nil {
		return err
	}
	if reclaimed {
		if err = d.reserve(addr.String()); !is(err, unix.EEXIST) {
			return err
		}
	}
	return failure.Of(ErrReserved, "the requested address %s is reserved for %s: request another one, or remove that container first", addr, holder)
}

// directly is how many addresses are tried before the directory is listed, which costs more than a few attempts and less than
// thousands.
const directly = 8

// takeNext walks the set, and then looks for a holder that is gone.
func (s *session) takeNext(ctx context.Context, d *draft, a allocation) (netip.Addr, error) {
	if s.index.full == a.key() {
		return s.takeReclaimed(ctx, d, a)
	}
	var taken map[netip.Addr]bool
	tried := 0
	for addr := range a.set.after(s.cursor(a.index), a.gateways) {
		if taken[addr] {
			continue
		}
		err := d.reserve(addr.String())
		if !is(err, unix.EEXIST) {
			return addr, err
		}
		if tried++; tried == directly {
			if taken, err = s.taken(a.set); err != nil {
				return netip.Addr{}, err
			}
		}
		if ctx.Err() != nil {
			return netip.Addr{}, fmt.Errorf("search of range set %d for a free address: %w", a.index, ctx.Err())
		}
	}
	s.index.setFull(a.key())
	return s.takeReclaimed(ctx, d, a)
}

// key tells the range set from others in the header of the index.
func (a allocation) key() uint32 { return max(checksum(fmt.Append(nil, a.set, a.gateways)), 1) }

// taken lists the addresses of a set that are reserved.
func (s *session) taken(set RangeSet) (map[netip.Addr]bool, error) {
	names, err := s.net.names()
	if err != nil {
		return nil, err
	}
	taken := make(map[netip.Addr]bool, len(names))
	for _, name := range names {
		if addr, ok := parseName(name); ok {
			taken[addr] = true
		}
	}
	return taken, nil
}

// probes is how many holders one call looks at, so that calls on a large range that is full do not keep others waiting. The
// next call goes on behind them.
const probes = 512

// takeReclaimed gives the owner an address whose holder is gone.
func (s *session) takeReclaimed(ctx context.Context, d *draft, a allocation) (netip.Addr, error) {
	probed := 0
	for addr := range a.set.after(s.index.probe, a.gateways) {
		if probed == probes || ctx.Err() != nil {
			break
		}
		probed++
		s.index.setProbe(addr)
		_, reclaimed, err := s.reclaim(ctx, addr)
		if err != nil {
			slog.Warn("host-local cannot tell who holds an address", "network", s.network, "address", addr, "error", err)
		}
		if reclaimed {
			if err := d.reserve(addr.String()); !is(err, unix.EEXIST) {
				return addr, err
			}
		}
	}
	return netip.Addr{}, exhausted(a)
}

func exhausted(a allocation) error {
	return failure.Of(ErrExhausted, "range set %d (%s) has no free address, all %d are reserved: let GC release those of containers that are gone, or configure a larger range",
		a.index, a.set, a.set.size(a.gateways))
}

// reclaim removes a reservation whose holder is gone.
func (s *session) reclaim(ctx context.Context, addr netip.Addr) (holder Owner, reclaimed bool, err error) {
	holder, r, err := s.holderAndRecord(addr)
	if isNotExist(err) {
		return holder, true, nil
	}
	if err != nil || !s.isGone(ctx, holder, r) {
		return holder, false, err
	}
	if err := s.release(entry{addr: addr, owner: holder}); err != nil {
		return holder, false, err
	}
	slog.Warn("host-local reclaimed an address that nobody uses: its network namespace is gone",
		"network", s.network, "address", addr, "owner", holder)
	return holder, true, nil
}

// isGone says whether a reservation is certainly of nobody who lives. What was reserved by hand, with no interface named,
// never is.
func (s *session) isGone(ctx context.Context, holder Owner, r record) bool {
	switch {
	case holder.IfName == "":
		return false
	case s.boot.after(r.boot):
		return true
	case r.boot != s.boot || !s.boot.known():
		return false // of another machine, or nobody knows
	}
	return s.gone != nil && s.gone(ctx, Holder{Network: s.network, Owner: holder, Netns: r.netns})
}
