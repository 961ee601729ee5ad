package nftable

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// TakenError says that an element which has to be new is there, and belongs to another.
type TakenError struct {
	// Wanted is what was to be added, Held what is in its place.
	Wanted, Held kernel.Element
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("element of nftables set %s belongs to %q", e.Wanted.Set.Name, e.Held.Comment)
}

// perTransaction keeps a transaction within a socket's default buffer.
const perTransaction = 1000

// Change is what Add has changed.
type Change struct {
	// Added are the elements that were missing, and those that were put in the place of others.
	Added []kernel.Element
	// Replaced are these others.
	Replaced []kernel.Element
}

// TakeBack leaves the elements as they were before.
func (c Change) TakeBack(k *kernel.Kernel) error {
	var instead, added []kernel.Element
	for _, e := range c.Added {
		if slices.ContainsFunc(c.Replaced, func(r kernel.Element) bool { return r.Set.Name == e.Set.Name && bytes.Equal(r.Key, e.Key) }) {
			instead = append(instead, e)
		} else {
			added = append(added, e)
		}
	}
	return errors.Join(deleteAll(k, added), k.ReplaceElements(instead, c.Replaced))
}

// Add builds the layout unless it stands, and is Put.
func (l Layout) Add(k *kernel.Kernel, elements []kernel.Element) (Change, error) {
	if err := l.Ensure(k); err != nil {
		return Change{}, err
	}
	return l.Put(k, elements)
}

// AddMissing adds those of an owner's elements that are not there, and says what it has changed: see DeleteStale for why not all. The
// error is a *TakenError when one belongs to another.
func (l Layout) AddMissing(k *kernel.Kernel, elements []kernel.Element) (Change, error) {
	_, missing, err := compare(k, elements)
	if err != nil {
		return Change{}, err
	}
	return l.Add(k, missing)
}

// Put adds elements, each of which must be new or of the same owner, and says what it has changed. The error is a *TakenError
// when one belongs to another; then those added before it are taken back.
func (l Layout) Put(k *kernel.Kernel, elements []kernel.Element) (Change, error) {
	var all Change
	for chunk := range slices.Chunk(elements, perTransaction) {
		some, err := l.addChunk(k, chunk)
		if err != nil {
			return Change{}, errors.Join(err, all.TakeBack(k))
		}
		all = Change{Added: append(all.Added, some.Added...), Replaced: append(all.Replaced, some.Replaced...)}
	}
	return all, nil
}

// inTheWay are the errors of the kernel when elements that are to be added are there: a set of intervals says ENOTEMPTY where two overlap in
// part.
var inTheWay = []error{unix.EEXIST, unix.ENOTEMPTY}

// addChunk adds elements in one transaction. One may go between two steps, with its owner's DEL; and so may all, with `nft flush ruleset`.
func (l Layout) addChunk(k *kernel.Kernel, elements []kernel.Element) (change Change, err error) {
	err = AgainOn(append(inTheWay, unix.ENOENT), func() error {
		change, err = addOrReplace(k, elements)
		if errors.Is(err, unix.ENOENT) {
			if err := l.Ensure(k); err != nil {
				return err
			}
		}
		return Unsupported(err)
	})
	return change, err
}

// addOrReplace adds elements, in place of those of the same owner that are otherwise.
func addOrReplace(k *kernel.Kernel, elements []kernel.Element) (Change, error) {
	err := k.AddElements(elements)
	if err == nil {
		return Change{Added: elements}, nil
	}
	if !isOneOf(err, append(inTheWay, unix.ENOENT)) {
		return Change{}, err
	}
	stale, missing, err := compare(k, elements)
	if err == nil {
		err = k.ReplaceElements(stale, missing)
	}
	if err != nil {
		return Change{}, err
	}
	return Change{Added: missing, Replaced: stale}, nil
}

// compare says which elements have to be deleted and which to be added. The error is a *TakenError for one of another owner.
func compare(k *kernel.Kernel, elements []kernel.Element) (stale, missing []kernel.Element, err error) {
	for _, e := range elements {
		held, err := LookUp(k, e)
		switch {
		case err != nil:
			return nil, nil, err
		case held.Key == nil:
			missing = append(missing, e)
		case held.Comment != e.Comment:
			return nil, nil, &TakenError{Wanted: e, Held: held}
		case !same(held, e):
			stale, missing = append(stale, held), append(missing, e)
		}
	}
	return stale, missing, nil
}

func same(a, b kernel.Element) bool {
	return a.Comment == b.Comment && a.Jump == b.Jump && bytes.Equal(a.Data, b.Data) && bytes.Equal(a.KeyEnd, b.KeyEnd) && bytes.Equal(a.Note, b.Note)
}

// LookUp is the element with the same key in the same set, or one without a key when there is none.
func LookUp(k *kernel.Kernel, e kernel.Element) (kernel.Element, error) {
	held, err := k.Element(e.Set, e.Key)
	if errors.Is(err, unix.ENOENT) {
		return kernel.Element{}, nil
	}
	return held, Unsupported(err)
}

// VerifyElements looks for elements, what they lead to and their tags.
func VerifyElements(k *kernel.Kernel, elements []kernel.Element) error {
	var errs []error
	for _, e := range elements {
		held, err := LookUp(k, e)
		switch {
		case err != nil:
			errs = append(errs, err)
		case held.Key == nil:
			errs = append(errs, state.Driftf("nftables set %s has no element of %q", e.Set.Name, e.Comment))
		case held.Comment != e.Comment:
			errs = append(errs, state.Driftf("element of nftables set %s belongs to %q instead of %q", e.Set.Name, held.Comment, e.Comment))
		case !same(held, e):
			errs = append(errs, state.Driftf("element of %q in nftables set %s leads elsewhere than declared", e.Comment, e.Set.Name))
		}
	}
	return errors.Join(errs...)
}

// Remove deletes the elements that are stale from all sets, and gives back what they were.
func (l Layout) Remove(k *kernel.Kernel, stale func(kernel.Element) bool) (gone []kernel.Element, err error) {
	return Remove(k, l.Sets, stale)
}

// Remove deletes the elements that are stale from sets, and gives back what they were.
func Remove(k *kernel.Kernel, sets []*nftables.Set, stale func(kernel.Element) bool) (gone []kernel.Element, err error) {
	// An element may go between listing and deleting, with its own owner's DEL; what is left is listed again.
	const rounds = 64
	for range rounds {
		left, err := list(k, sets, stale)
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
			return gone, fmt.Errorf("nft delete element %s %s: %w", TableName(batch[0].Set.Table), batch[0].Set.Name, err)
		}
	}
	return gone, fmt.Errorf("nft delete element: %w", state.ErrVanished)
}

// list lists the elements of sets that are of interest. Of a table that is not there it asks for one set alone: most hosts have some
// of the tables, and each DEL looks through all.
func list(k *kernel.Kernel, sets []*nftables.Set, wanted func(kernel.Element) bool) (found []kernel.Element, err error) {
	var absent []string
	for _, set := range sets {
		table := TableName(set.Table)
		if slices.Contains(absent, table) {
			continue
		}
		elements, err := k.ElementsWhere(set, wanted)
		if errors.Is(err, unix.ENOENT) {
			has, err := k.HasTable(set.Table)
			if err != nil {
				return nil, fmt.Errorf("nft list table %s: %w", table, err)
			}
			if !has {
				absent = append(absent, table)
			}
			continue
		}
		if err = listing(set, err); err != nil && !Without(k, err) {
			return nil, err
		}
		found = append(found, elements...)
	}
	return found, nil
}

// ElementsOf is Elements for who takes a kernel without nftables for one that has none.
func ElementsOf(k *kernel.Kernel, set *nftables.Set) ([]kernel.Element, error) {
	elements, err := Elements(k, set)
	if Without(k, err) {
		return nil, nil
	}
	return elements, err
}

// Elements lists the elements of a set. A set that does not exist has none.
func Elements(k *kernel.Kernel, set *nftables.Set) ([]kernel.Element, error) {
	elements, err := k.Elements(set)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return elements, listing(set, err)
}

// listing says which set an error is about.
func listing(set *nftables.Set, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("nft list set %s %s: %w", TableName(set.Table), set.Name, Unsupported(err))
}

// DeleteStale deletes what other owners have at the keys of elements, as an earlier holder of an address may have left it, and gives those
// that are not there as they are to be: an attempt to add the others would cost a grace period, in which the kernel takes back its
// transaction. The error wraps unix.ENOENT when something goes meanwhile.
func DeleteStale(k *kernel.Kernel, elements []kernel.Element) (missing []kernel.Element, err error) {
	for _, e := range elements {
		held, err := LookUp(k, e)
		if err != nil {
			return nil, err
		}
		if held.Key != nil && held.Comment != e.Comment {
			if err := k.DeleteElements([]kernel.Element{held}); err != nil {
				return nil, err
			}
		}
		if held.Key == nil || !same(held, e) {
			missing = append(missing, e)
		}
	}
	return missing, nil
}

// Again does what consists of several transactions, until nobody has deleted what it needs between two of them: the error that
// it gives then wraps unix.ENOENT.
func Again(do func() error) error { return AgainOn([]error{unix.ENOENT}, do) }

// AgainOn does something until its error is none of those that come from what others do meanwhile. It gives up after a few times.
func AgainOn(meanwhile []error, do func() error) (err error) {
	const tries = 8
	for range tries {
		if err = do(); !isOneOf(err, meanwhile) {
			return err
		}
	}
	return err
}

func isOneOf(err error, kinds []error) bool {
	return slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) })
}

// deleteAll takes elements back that were added a moment ago.
func deleteAll(k *kernel.Kernel, elements []kernel.Element) error {
	var errs []error
	for chunk := range slices.Chunk(elements, perTransaction) {
		if err := k.DeleteElements(chunk); !errors.Is(err, unix.ENOENT) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
