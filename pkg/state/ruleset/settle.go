// Package ruleset declares the nftables rules of networks: masquerade, isolation, spoof check and the filters of overlays.
// All are elements of sets and maps in tables of fairway's own, tagged with their owner. It needs CAP_NET_ADMIN in the
// host's namespace.
package ruleset

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// tagged is the elements of a layout's sets that carry one tag, as one piece of state: those declared are there, and no
// others.
type tagged struct {
	layout   layout
	tag      string
	elements []kernel.Element
}

// ensure builds the layout unless its rules are there, adds the elements that are missing and deletes those that are
// surplus.
func (t tagged) ensure(k *kernel.Kernel) error {
	conn, err := k.Nftables()
	if err != nil {
		return err
	}
	switch err := t.layout.verify(conn); {
	case errors.Is(err, state.ErrDrift):
		if err := build(k, t.layout); err != nil {
			return err
		}
	case err != nil:
		return unsupported(err)
	}
	missing, surplus, err := t.compare(k)
	if err != nil {
		return err
	}
	// The elements of a large network in one transaction would not fit into the socket's buffer.
	const perTransaction = 1000
	for from := 0; from < len(missing); from += perTransaction {
		if err := put(k, t.layout, missing[from:min(from+perTransaction, len(missing))]); err != nil {
			return err
		}
	}
	if len(surplus) == 0 {
		return nil
	}
	keys := keysOf(surplus)
	_, err = removeElementsIf(k, t.layout.sets, func(e kernel.Element) bool {
		_, ok := keys[elementID(e)]
		return ok
	})
	return err
}

// compare lists the elements that are missing, and those of the tag that are not declared.
func (t tagged) compare(k *kernel.Kernel) (missing, surplus []kernel.Element, err error) {
	want := keysOf(t.elements)
	for _, set := range t.layout.sets {
		err := k.EachElement(set, func(e kernel.Element) {
			if e.Comment != t.tag {
				return
			}
			switch there, declared := want[elementID(e)]; {
			case declared && !there:
				want[elementID(e)] = true
			case !declared:
				e.Key = slices.Clone(e.Key)
				want[elementID(e)] = true // if it comes again
				surplus = append(surplus, e)
			}
		})
		if err != nil && !errors.Is(err, unix.ENOENT) { // a set that does not exist has none
			return nil, nil, fmt.Errorf("nft list set %s %s: %w", tableName(set.Table), set.Name, unsupported(err))
		}
	}
	for _, e := range t.elements {
		if !want[elementID(e)] {
			missing = append(missing, e)
		}
	}
	return missing, surplus, nil
}

// verify reports rules and elements that are missing, and elements that are surplus.
func (t tagged) verify(k *kernel.Kernel) error {
	conn, err := k.Nftables()
	if err != nil {
		return err
	}
	errs := []error{t.layout.verify(conn)}
	missing, surplus, err := t.compare(k)
	errs = append(errs, err)
	for _, e := range missing {
		errs = append(errs, state.Driftf("nftables set %s has no element of %q", e.Set.Name, t.tag))
	}
	for _, e := range surplus {
		errs = append(errs, state.Driftf("nftables set %s has an element of %q that is not declared", e.Set.Name, t.tag))
	}
	return joinFew(errs)
}

// joinFew joins errors, and of many the first ones and how many more there are: a set that is gone lacks every element.
func joinFew(errs []error) error {
	const shown = 5
	var some []error
	more := 0
	for _, err := range errs {
		switch {
		case err == nil:
		case len(some) < shown:
			some = append(some, err)
		default:
			more++
		}
	}
	if more > 0 {
		some = append(some, state.Driftf("and %d more", more))
	}
	return errors.Join(some...)
}

// remove deletes the elements of the tag.
func (t tagged) remove(k *kernel.Kernel) error {
	_, err := removeElements(k, t.layout.sets, func(tag string) bool { return tag == t.tag })
	return err
}

// elementID tells elements of one layout apart.
func elementID(e kernel.Element) string { return e.Set.Name + "\x00" + string(e.Key) }

// keysOf is elements by their IDs, for a note about each.
func keysOf(elements []kernel.Element) map[string]bool {
	keys := make(map[string]bool, len(elements))
	for _, e := range elements {
		keys[elementID(e)] = false
	}
	return keys
}
