package ruleset

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/google/nftables"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// declared is what is in some sets as one piece of state: of the elements that are its own, those declared are there and
// no others.
type declared struct {
	sets []*nftables.Set
	// chains are those whose rules give the elements their effect.
	chains []string
	// own tells which of the sets' elements are this piece's; tag is their comment where that tells, of sets that all networks share.
	own      func(kernel.Element) bool
	tag      string
	elements []kernel.Element
	// partial leaves its own elements alone that are not declared.
	partial bool
}

// ensure builds the layout unless its rules are there, adds the elements that are missing and deletes those that are
// surplus.
func (d declared) ensure(k *kernel.Kernel) error {
	if err := d.ensureRules(k); err != nil {
		return err
	}
	missing, surplus, err := d.compare(k)
	if err != nil {
		return err
	}
	// The elements of a large network in one transaction would not fit into the socket's buffer.
	const perTransaction = 1000
	for from := 0; from < len(missing); from += perTransaction {
		if err := put(k, inetLayout, missing[from:min(from+perTransaction, len(missing))]); err != nil {
			return err
		}
	}
	if len(surplus) == 0 {
		return nil
	}
	stale := make(map[string]bool, len(surplus))
	for _, e := range surplus {
		stale[elementID(e)] = true
	}
	_, err = nftable.Remove(k, d.sets, func(e kernel.Element) bool { return stale[elementID(e)] && d.own(e) })
	return err
}

func (d declared) ensureRules(k *kernel.Kernel) error {
	switch ok, err := allStanding(k, InetTable(), d.chains); {
	case err != nil:
		return nftable.Unsupported(err)
	case !ok:
		return build(k, inetLayout())
	}
	return nil
}

// present takes the place of the comment that is wanted, of an element that was found. No comment holds a NUL.
const present = "\x00"

// compare lists the elements that are missing, and its own ones that are not declared.
func (d declared) compare(k *kernel.Kernel) (missing, surplus []kernel.Element, err error) {
	want := make(map[string]string, len(d.elements))
	for _, e := range d.elements {
		want[elementID(e)] = e.Comment
	}
	for _, set := range d.sets {
		err := d.eachOwn(k, set, func(e kernel.Element) {
			id := elementID(e)
			switch comment, known := want[id]; {
			case !known && d.partial:
			case !known:
				e.Key = slices.Clone(e.Key)
				want[id] = present // if it comes again
				surplus = append(surplus, e)
			case comment == e.Comment:
				want[id] = present
			}
		})
		if err != nil && !errors.Is(err, unix.ENOENT) { // a set that does not exist has none
			return nil, nil, fmt.Errorf("nft list set %s %s: %w", nftable.TableName(set.Table), set.Name, nftable.Unsupported(err))
		}
	}
	for _, e := range d.elements {
		if want[elementID(e)] != present {
			missing = append(missing, e)
		}
	}
	missing, err = d.reallyMissing(k, missing)
	return missing, surplus, err
}

// eachOwn lists the elements of a set that are this piece's.
func (d declared) eachOwn(k *kernel.Kernel, set *nftables.Set, each func(kernel.Element)) error {
	if d.tag != "" {
		return k.EachElementOf(set, d.tag, each)
	}
	return k.EachElement(set, func(e kernel.Element) {
		if d.own(e) {
			each(e)
		}
	})
}

// lookUpMost is how many elements are looked up one by one when a listing lacks them.
const lookUpMost = 128

// reallyMissing looks the elements up that a listing lacks: while the kernel's table grows, a listing may leave some out and not say so.
// When it has none at all, or many are missing, it is believed.
func (d declared) reallyMissing(k *kernel.Kernel, missing []kernel.Element) ([]kernel.Element, error) {
	if len(missing) == len(d.elements) || len(missing) > lookUpMost {
		return missing, nil
	}
	var errs []error
	return slices.DeleteFunc(missing, func(e kernel.Element) bool {
		held, err := nftable.LookUp(k, e)
		errs = append(errs, err)
		return err == nil && held.Key != nil && held.Comment == e.Comment
	}), errors.Join(errs...)
}

// stands looks the first elements up, and the rules: a look that costs next to nothing.
func (d declared) stands(k *kernel.Kernel, first int) (bool, error) {
	for _, e := range d.elements[:first] {
		if held, err := nftable.LookUp(k, e); err != nil || held.Comment != e.Comment {
			return false, err
		}
	}
	return allStanding(k, InetTable(), d.chains)
}

// verify reports rules and elements that are missing, and elements that are surplus.
func (d declared) verify(k *kernel.Kernel) error {
	errs := []error{verifyChains(k, InetTable(), d.chains)}
	missing, surplus, err := d.compare(k)
	errs = append(errs, err)
	for _, e := range missing {
		errs = append(errs, state.Driftf("nftables set %s has no element of %q", e.Set.Name, e.Comment))
	}
	for _, e := range surplus {
		errs = append(errs, surplusElement(e))
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

// remove deletes its own elements.
func (d declared) remove(k *kernel.Kernel) error {
	_, err := nftable.Remove(k, d.sets, d.own)
	return err
}

// elementID tells elements of one layout apart.
func elementID(e kernel.Element) string { return e.Set.Name + "\x00" + string(e.Key) }
