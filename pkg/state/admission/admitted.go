package admission

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// Admitted lets packets from a container through the host, and answers to it.
type Admitted struct {
	Owner state.Owner
	Addrs []netip.Addr
}

var (
	_ state.Rule    = Admitted{}
	_ state.Readier = Admitted{}
)

// Rule marks it as one that translates or filters packets.
func (Admitted) Rule() {}

func (a Admitted) String() string {
	var lines []string
	for _, addr := range a.Addrs {
		lines = append(lines, fmt.Sprintf("nft add element inet %s %s { %s }", Table().Name, admittedSet(addr).Name, addr))
	}
	return strings.Join(lines, " && ")
}

func (a Admitted) elements() []kernel.Element {
	var elements []kernel.Element
	for _, addr := range a.Addrs {
		elements = append(elements, kernel.Element{Set: admittedSet(addr), Key: addr.AsSlice(), Comment: a.Owner.Tag()})
	}
	return elements
}

// Ensure is Add.
func (a Admitted) Ensure(k *kernel.Kernel) (bool, error) { return state.Ensured(a, k) }

// Add admits the container. An element that an earlier holder of an address has left becomes the container's.
func (a Admitted) Add(k *kernel.Kernel, made *state.Rollback) error {
	if len(a.Addrs) == 0 {
		return nil
	}
	change, err := replace(k, a.elements())
	if len(change.Added) > 0 {
		made.Push(func() error { return change.TakeBack(k) })
	}
	return err
}

// replace adds elements in place of those of other owners.
func replace(k *kernel.Kernel, elements []kernel.Element) (change nftable.Change, err error) {
	err = nftable.Again(func() error {
		missing, err := nftable.DeleteStale(k, elements)
		if err == nil {
			change, err = layout().Add(k, missing)
		}
		return err
	})
	return change, err
}

// Ready says whether nftables can be used.
func (Admitted) Ready(k *kernel.Kernel) error { return nftable.Ready(k) }

// Verify looks for the container, and for the rules that admit it.
func (a Admitted) Verify(k *kernel.Kernel) error {
	if len(a.Addrs) == 0 {
		return nil
	}
	return errors.Join(layout().Verify(k), nftable.VerifyElements(k, a.elements()))
}

// Remove takes the container out, whatever addresses it has.
func (a Admitted) Remove(k *kernel.Kernel) error {
	tag := a.Owner.Tag()
	_, err := layout().Remove(k, func(e kernel.Element) bool { return e.Comment == tag })
	return err
}

// Addresses are those by which some owners are admitted.
func Addresses(k *kernel.Kernel, of func(tag string) bool) (addrs []netip.Addr, err error) {
	for _, family := range []netip.Addr{any4, any6} {
		elements, err := nftable.ElementsOf(k, admittedSet(family))
		if err != nil {
			return nil, err
		}
		for _, e := range elements {
			if addr, ok := netip.AddrFromSlice(e.Key); ok && of(e.Comment) {
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs, nil
}

// Prune takes out stale owners, and bridges that are gone.
func Prune(k *kernel.Kernel, stale func(tag string) bool) error {
	_, err := layout().Remove(k, func(e kernel.Element) bool {
		if bridge, ok := strings.CutPrefix(e.Comment, state.BridgeTag("")); ok {
			_, err := k.Host.LinkNow(bridge)
			return kernel.IsNotFound(err)
		}
		return stale(e.Comment)
	})
	return err
}
