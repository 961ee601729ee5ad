package ruleset

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// put adds elements in one transaction. On a host in use, nothing but the elements is sent; when a set or chain is
// missing, the layout is built first.
func put(k *kernel.Kernel, l func() layout, elements []kernel.Element) error {
	// Another process may remove a chain it finds unused, or its own element, between two steps.
	const tries = 8
	var err error
	for range tries {
		if err = k.AddElements(elements); errors.Is(err, unix.EEXIST) {
			err = takeOver(k, elements)
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.ENOENT):
			if err := build(k, l()); err != nil {
				return err
			}
		case !errors.Is(err, unix.EEXIST):
			return unsupported(err)
		}
	}
	return err
}

// takeOver makes elements ours that are there already, in one transaction. A leftover of an earlier holder of the same
// address would otherwise keep its tag, and go when that owner is cleaned up.
func takeOver(k *kernel.Kernel, elements []kernel.Element) error {
	var stale, missing []kernel.Element
	for _, e := range elements {
		held, err := lookUp(k, e)
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

// lookUp is the element with the same key in the same set, or one without a key when there is none.
func lookUp(k *kernel.Kernel, e kernel.Element) (kernel.Element, error) {
	held, err := k.Element(e.Set, e.Key)
	if errors.Is(err, unix.ENOENT) {
		return kernel.Element{}, nil
	}
	return held, err
}

// NftReady says whether nftables can be used, by listing its tables.
func NftReady(k *kernel.Kernel) error {
	conn, err := k.Nftables()
	if err != nil {
		return err
	}
	if _, err := conn.ListTablesOfFamily(nftables.TableFamilyINet); err != nil {
		return fmt.Errorf("nftables cannot be used (nft list tables inet): %w", unsupported(err))
	}
	return nil
}

// unsupported names the feature when the kernel lacks it.
func unsupported(err error) error {
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return fmt.Errorf("nftables (CONFIG_NF_TABLES) is %w: %w", state.ErrUnsupported, err)
	}
	return err
}

// withoutNftables says whether a listing failed because the kernel has no nftables, and so nothing to list. EINVAL, which is
// the answer then, may also say that the listing was asked for wrongly.
func withoutNftables(k *kernel.Kernel, err error) bool {
	if !errors.Is(err, unix.EINVAL) {
		return errors.Is(unsupported(err), state.ErrUnsupported)
	}
	has, err := k.HasNftables()
	return err == nil && !has
}

// elementsOf lists the elements of a set. A set that does not exist has none.
func elementsOf(k *kernel.Kernel, set *nftables.Set) ([]kernel.Element, error) {
	elements, err := k.Elements(set)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("nft list set %s %s: %w", tableName(set.Table), set.Name, unsupported(err))
	}
	return elements, nil
}

// verifyElements looks for elements and their tags.
func verifyElements(k *kernel.Kernel, elements []kernel.Element) error {
	var errs []error
	for _, e := range elements {
		held, err := lookUp(k, e)
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
	return removeElementsIf(k, sets, func(e kernel.Element) bool { return stale(e.Comment) })
}

// removeElementsIf deletes the elements that are stale from sets, and gives back what they were.
func removeElementsIf(k *kernel.Kernel, sets []*nftables.Set, stale func(kernel.Element) bool) (gone []kernel.Element, err error) {
	// An element may go between listing and deleting, with its own owner's DEL; what is left is listed again.
	const rounds = 64
	// One owner's go in one transaction. Those of a large network would not fit into the socket's buffer.
	const perTransaction = 1000
	for range rounds {
		left, err := staleElements(k, sets, stale)
		if err != nil || len(left) == 0 {
			return gone, err
		}
		batch := left[:min(len(left), perTransaction)]
		switch err := k.DeleteElements(batch); {
		case err == nil:
			if gone = append(gone, batch...); len(batch) == len(left) {
				return gone, nil
			}
		case !errors.Is(err, unix.ENOENT):
			return gone, fmt.Errorf("nft delete element %s %s: %w", tableName(batch[0].Set.Table), batch[0].Set.Name, err)
		}
	}
	return gone, fmt.Errorf("nft delete element: %w", state.ErrVanished)
}

// staleElements lists the elements of sets that are stale.
func staleElements(k *kernel.Kernel, sets []*nftables.Set, stale func(kernel.Element) bool) (found []kernel.Element, err error) {
	for _, set := range sets {
		elements, err := elementsOf(k, set)
		if withoutNftables(k, err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		found = append(found, slices.DeleteFunc(elements, func(e kernel.Element) bool { return !stale(e) })...)
	}
	return found, nil
}

// tableName is a table as nft names it, with its family.
func tableName(t *nftables.Table) string {
	switch t.Family {
	case nftables.TableFamilyBridge:
		return "bridge " + t.Name
	case nftables.TableFamilyIPv4:
		return "ip " + t.Name
	case nftables.TableFamilyIPv6:
		return "ip6 " + t.Name
	}
	return "inet " + t.Name
}
