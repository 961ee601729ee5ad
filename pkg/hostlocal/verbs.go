package hostlocal

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/fairway-cni/fairway/pkg/failure"
)

// Store is the reservations of one network, for the verbs of CNI. It holds nothing open between them.
type Store struct {
	Config
	// Gone is asked before an address is given to another than its holder. Nil: whoever reserved in this boot lives.
	Gone Gone

	boot     boot
	sys      system
	patience time.Duration // with a busy lock
}

// NewStore is the store of a network on this host. For all but Add and Status, a Config with Network and DataDir is enough.
func NewStore(c Config) *Store {
	return &Store{Config: c, boot: thisBoot(), sys: linux{}, patience: lockPatience}
}

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

	// Fresh is the addresses that this call has reserved. The others belong to an attachment of the owner that may be alive,
	// and an ADD that fails must not release them.
	Fresh []netip.Addr
	// First: all are fresh, and nobody is known to have had one of them in this boot.
	First bool

	renewed []renewal
}

// Add reserves one address of each range set for the owner, whose network
// namespace is recorded as netns (zero: not known). An owner that asks again
// gets the addresses it has. On an error nothing is changed. Errors: ErrConfig,
// ErrOwner, ErrReserved, ErrExhausted, ErrBusy, and those of the operating
// system.
func (st *Store) Add(ctx context.Context, o Owner, netns Netns) (Lease, error) {
	if len(st.Ranges) == 0 {
		return Lease{}, invalidf("ipam has no range, and the runtime gave none by the capability ipRanges: add ipam.ranges, or let the runtime give them")
	}
	if err := o.check(); err != nil {
		return Lease{}, err
	}
	all, err := st.allocations(o, record{boot: st.boot, netns: netns})
	if err != nil {
		return Lease{}, err
	}
	dns, err := st.dns()
	if err != nil {
		return Lease{}, err
	}
	s, err := st.create(ctx)
	if err != nil {
		return Lease{}, err
	}
	defer s.close()
	held, err := s.held(o)
	if err != nil {
		return Lease{}, st.unusable(err)
	}
	g, err := s.fulfil(ctx, all, held)
	if err != nil {
		return Lease{}, st.unusable(err)
	}
	lease := Lease{Addresses: g.addresses, Routes: st.Routes, DNS: dns, renewed: g.renewed}
	lease.First = len(g.fresh) == len(g.addresses)
	for _, e := range g.fresh {
		lease.Fresh = append(lease.Fresh, e.addr)
		lease.First = s.isFirst(e.addr) && lease.First
	}
	return lease, nil
}

// Undo takes back what Add did for a lease, and nothing that was there before.
func (st *Store) Undo(ctx context.Context, o Owner, l Lease) error {
	if len(l.Fresh) == 0 && len(l.renewed) == 0 {
		return nil
	}
	return st.existing(ctx, func(s *session) error {
		var errs []error
		for _, addr := range l.Fresh {
			holder, err := s.holder(addr)
			switch {
			case isNotExist(err):
				continue
			case err == nil && holder == o:
				err = s.release(entry{addr: addr, owner: o})
			}
			errs = append(errs, err)
		}
		return errors.Join(append(errs, s.restore(l.renewed))...)
	})
}

// Release gives back all addresses of the owner. An owner without any, or a
// network without a directory, is success; no directory of a network is made.
// Errors: ErrOwner, ErrBusy, and those of the operating system.
func (st *Store) Release(ctx context.Context, o Owner) error {
	if err := o.check(); err != nil {
		return err
	}
	return st.existing(ctx, func(s *session) error {
		entries, err := s.heldForSure(o)
		if err != nil {
			return err
		}
		return s.releaseAll(entries)
	})
}

// Check verifies that the owner holds these addresses, or any if none is given. It makes nothing void. Errors: ErrNotReserved,
// ErrOwner, ErrBusy, and those of the operating system.
func (st *Store) Check(ctx context.Context, o Owner, addrs []netip.Addr) error {
	if err := o.check(); err != nil {
		return err
	}
	s, err := st.open(ctx)
	if isNotExist(err) {
		return failure.Of(ErrNotReserved, "no address of network %s is reserved for %s: run DEL and ADD again", st.Network, o)
	}
	if err != nil {
		return err
	}
	defer s.close()
	return st.unusable(s.check(o, addrs))
}

func (s *session) check(o Owner, addrs []netip.Addr) error {
	if err := s.prepare(); err != nil {
		return err
	}
	entries, err := s.heldOrLegacy(o)
	if err != nil {
		return err
	}
	var held []netip.Addr
	for _, e := range entries {
		void, err := s.isVoid(e.addr)
		if err != nil {
			return err
		}
		if !void {
			held = append(held, e.addr)
		}
	}
	if len(held) == 0 {
		return failure.Of(ErrNotReserved, "no address of network %s is reserved for %s: run DEL and ADD again", s.network, o)
	}
	for _, addr := range addrs {
		if !slices.Contains(held, addr) {
			return failure.Of(ErrNotReserved, "address %s of network %s is not reserved for %s: run DEL and ADD again", addr, s.network, o)
		}
	}
	return nil
}

// GC gives back every address whose owner is not among the valid ones. What was reserved by hand, without an interface, stays.
// It goes on past errors and returns them all.
func (st *Store) GC(ctx context.Context, valid []Owner) error {
	keep := map[Owner]bool{}
	for _, o := range valid {
		keep[o] = true
	}
	return st.existing(ctx, func(s *session) error {
		entries, err := s.scan(nil)
		stale := slices.DeleteFunc(entries, func(e entry) bool { return keep[e.owner] || e.owner.IfName == "" })
		return errors.Join(err, s.releaseAll(stale), ctx.Err())
	})
}

// Purge removes the reservations that an earlier boot has left, as the first Add would.
func (st *Store) Purge(ctx context.Context) error {
	return st.existing(ctx, func(*session) error { return nil })
}

// Discard gives back all addresses of a network that is no more, and removes
// its directories. A file that is not host-local's stays, and its directory
// with it. A network without a directory is success. Errors: ErrBusy, and those
// of the operating system.
func (st *Store) Discard(ctx context.Context) error {
	data, err := openFolder(st.sys, st.DataDir)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return st.unusable(err)
	}
	defer data.close()
	s, err := st.open(ctx)
	if isNotExist(err) {
		return st.unusable(removeSide(data, st.Network))
	}
	if err != nil {
		return err
	}
	defer s.close()
	return st.unusable(s.removeNetwork(data))
}
