package hostlocal

import (
	"context"
	"errors"
	"net/netip"
)

// Address is one address of a lease.
type Address struct {
	Prefix  netip.Prefix // the address, with the prefix length of its subnet
	Gateway netip.Addr   // zero: the subnet is too small for one
}

// Lease is what Add hands out.
type Lease struct {
	Addresses []Address // one of each range set, in their order
	Routes    []Route
	DNS       DNS

	// Created is false if the owner held an address before this call. Then the
	// lease belongs to an attachment that may be alive, and a failed ADD must
	// not release it.
	Created bool
}

// Add reserves one address of each range set for the owner, whose network
// namespace is at the path netns (empty: not recorded). An owner that asks again
// gets the addresses it has. On an error nothing stays reserved that was not
// before. Errors: ErrConfig, ErrOwner, ErrReserved, ErrExhausted, ErrBusy, and
// those of the operating system.
func Add(ctx context.Context, c Config, o Owner, netns string) (Lease, error) {
	if len(c.Ranges) == 0 {
		return Lease{}, invalidf("ipam has no range, and the runtime gave none by the capability ipRanges: add ipam.ranges, or let the runtime give them")
	}
	return thisMachine().add(ctx, c, o, netns)
}

func (m machine) add(ctx context.Context, c Config, o Owner, netns string) (Lease, error) {
	if err := o.check(); err != nil {
		return Lease{}, err
	}
	all, err := c.allocations(o, m.newRecord(netns))
	if err != nil {
		return Lease{}, err
	}
	dns, err := c.dns()
	if err != nil {
		return Lease{}, err
	}
	s, err := m.create(ctx, c)
	if err != nil {
		return Lease{}, err
	}
	defer s.close()
	held, err := s.held(o)
	if err != nil {
		return Lease{}, c.unusable(err)
	}
	addresses, err := s.fulfil(ctx, m, all, held)
	if err != nil {
		return Lease{}, c.unusable(err)
	}
	return Lease{Addresses: addresses, Routes: c.Routes, DNS: dns, Created: len(held) == 0}, nil
}

// An allocation is what one range set owes one owner.
type allocation struct {
	owner  Owner
	record *record // nil: none
	set    RangeSet
	index  int        // of the set
	wanted netip.Addr // zero: any address
}

func (c Config) allocations(o Owner, r *record) ([]allocation, error) {
	wanted, err := c.assign()
	if err != nil {
		return nil, err
	}
	all := make([]allocation, len(c.Ranges))
	for i, set := range c.Ranges {
		all[i] = allocation{owner: o, record: r, set: set, index: i, wanted: wanted[i]}
	}
	return all, nil
}

// fulfil takes all allocations or none.
func (s *session) fulfil(ctx context.Context, m machine, all []allocation, held []netip.Addr) ([]Address, error) {
	var addresses []Address
	var fresh []entry
	for _, a := range all {
		addr, ok, err := s.resume(a, held)
		if err == nil && !ok {
			addr, err = s.reserve(ctx, m, a)
			if err == nil {
				fresh = append(fresh, entry{addr: addr, owner: a.owner})
			}
		}
		if err != nil {
			return nil, errors.Join(err, s.releaseAll(fresh))
		}
		r, _ := a.set.find(addr)
		addresses = append(addresses, Address{Prefix: netip.PrefixFrom(addr, r.Subnet.Bits()), Gateway: r.Gateway})
	}
	return addresses, nil
}

// resume returns the address of the set that the owner holds already, if any.
func (s *session) resume(a allocation, held []netip.Addr) (addr netip.Addr, ok bool, err error) {
	for _, h := range held {
		if _, inSet := a.set.find(h); !inSet || a.set.isGateway(h) {
			continue
		}
		if h == a.wanted || !addr.IsValid() {
			addr = h
		}
	}
	switch {
	case !addr.IsValid():
		return addr, false, s.refuseLegacy(a)
	case a.wanted.IsValid() && a.wanted != addr:
		return addr, false, problemf(ErrReserved, "%s holds %s and cannot get the requested address %s besides it: request %s, or run DEL first", a.owner, addr, a.wanted, addr)
	}
	return addr, true, s.renew(addr.String(), a.record)
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
			return problemf(ErrReserved, "%s was reserved for container %s, without its interface, by an old host-local: run DEL for the container first", h, a.owner.ContainerID)
		}
	}
	return nil
}
