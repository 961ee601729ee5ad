package hostlocal

import (
	"context"
	"errors"
	"slices"
)

// Release gives back all addresses of the owner. An owner without any, or a
// network without a directory, is success; no directory of a network is made.
// Errors: ErrOwner, ErrBusy, and those of the operating system.
func Release(ctx context.Context, c Config, o Owner) error {
	return thisMachine().release(ctx, c, o)
}

func (m machine) release(ctx context.Context, c Config, o Owner) error {
	if err := o.check(); err != nil {
		return err
	}
	s, err := m.enter(ctx, c)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.close()
	entries, err := s.heldOrLegacy(o)
	if err != nil {
		return c.unusable(err)
	}
	return c.unusable(s.releaseAll(entries))
}

// Check verifies that the owner holds an address. Errors: ErrNotReserved,
// ErrOwner, ErrBusy, and those of the operating system.
func Check(ctx context.Context, c Config, o Owner) error {
	return thisMachine().check(ctx, c, o)
}

func (m machine) check(ctx context.Context, c Config, o Owner) error {
	if err := o.check(); err != nil {
		return err
	}
	missing := problemf(ErrNotReserved, "no address of network %s is reserved for %s: run DEL and ADD again", c.Network, o)
	s, err := m.enter(ctx, c)
	if isNotExist(err) {
		return missing
	}
	if err != nil {
		return err
	}
	defer s.close()
	entries, err := s.heldOrLegacy(o)
	if err == nil && len(entries) == 0 {
		err = missing
	}
	return c.unusable(err)
}

// GC gives back every address whose owner is not among the valid ones. It goes
// on past errors and returns them all.
func GC(ctx context.Context, c Config, valid []Owner) error {
	return thisMachine().gc(ctx, c, valid)
}

func (m machine) gc(ctx context.Context, c Config, valid []Owner) error {
	s, err := m.enter(ctx, c)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.close()
	entries, err := s.scan()
	if err != nil {
		return c.unusable(err)
	}
	keep := map[Owner]bool{}
	for _, o := range valid {
		keep[o] = true
		keep[o.legacy()] = true
	}
	stale := slices.DeleteFunc(entries, func(e entry) bool { return keep[e.owner] })
	return c.unusable(errors.Join(s.releaseAll(stale), ctx.Err()))
}
