package ruleset

import (
	"errors"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// put adds elements in one transaction. On a host in use, nothing but the elements is sent; when a set or chain is
// missing, the layout is built first.
func put(k *kernel.Kernel, l func() layout, elements []kernel.Element) error {
	// Another process may remove a chain it finds unused, or its own element, between two steps.
	return nftable.AgainOn([]error{unix.ENOENT, unix.EEXIST}, func() error {
		err := k.AddElements(elements)
		if errors.Is(err, unix.EEXIST) {
			err = takeOver(k, elements)
		}
		if errors.Is(err, unix.ENOENT) {
			if err := build(k, l()); err != nil {
				return err
			}
		}
		return nftable.Unsupported(err)
	})
}

// takeOver makes elements ours that are there already, in one transaction. A leftover of an earlier holder of the same
// address would otherwise keep its tag, and go when that owner is cleaned up.
func takeOver(k *kernel.Kernel, elements []kernel.Element) error {
	var stale, missing []kernel.Element
	for _, e := range elements {
		held, err := nftable.LookUp(k, e)
		if err != nil {
			return err
		}
		if held.Comment == e.Comment && held.Jump == e.Jump {
			continue
		}
		// Whatever it leads to, a stale entry has to go first: the kernel refuses another verdict for its key.
		if held.Key != nil {
			stale = append(stale, held)
		}
		missing = append(missing, e)
	}
	if len(missing) == 0 {
		return nil
	}
	return k.ReplaceElements(stale, missing)
}

// verifyElements looks for elements and their tags.
func verifyElements(k *kernel.Kernel, elements []kernel.Element) error {
	var errs []error
	for _, e := range elements {
		held, err := nftable.LookUp(k, e)
		switch {
		case err != nil:
			errs = append(errs, err)
		case held.Key == nil:
			errs = append(errs, state.Driftf("nftables set %s has no element of %q", e.Set.Name, e.Comment))
		case held.Comment != e.Comment:
			errs = append(errs, state.Driftf("element of nftables set %s belongs to %q instead of %q", e.Set.Name, held.Comment, e.Comment))
		case held.Jump != e.Jump:
			errs = append(errs, state.Driftf("element of nftables set %s leads to %q instead of %q", e.Set.Name, held.Jump, e.Jump))
		}
	}
	return errors.Join(errs...)
}

// surplusElement is the drift of an element that is there, and that nothing declares.
func surplusElement(e kernel.Element) error {
	return state.Driftf("nftables set %s has an element of %q that is not declared", e.Set.Name, e.Comment)
}

// removeElements deletes the elements whose tag is stale from sets, and gives back what they were.
func removeElements(k *kernel.Kernel, sets []*nftables.Set, stale func(tag string) bool) (gone []kernel.Element, err error) {
	return nftable.Remove(k, sets, func(e kernel.Element) bool { return stale(e.Comment) })
}
