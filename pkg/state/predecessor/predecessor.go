// Package predecessor takes away the rules that the plugins of containernetworking/plugins (v1.9.1) have made for a container, when
// ours detach it: a host changes its suite while containers run. It knows them by the names and comments that those plugins find them by
// themselves. What containers share goes with the last of them. It needs CAP_NET_ADMIN in the host's namespace.
//
// Rules of iptables are found where iptables is the variant that is built on nftables.
package predecessor

import (
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// rules is what is never made and only taken away: the rest of an object.
type rules struct{}

// Rule marks it as one that translates or filters packets.
func (rules) Rule() {}

// Ensure does nothing.
func (rules) Ensure(*kernel.Kernel) (bool, error) { return false, nil }

// Verify does nothing: Or does, where something is expected.
func (rules) Verify(*kernel.Kernel) error { return nil }

// Or is an object of ours, or what the predecessor has made in its place. Neither is made anew where the other stands.
type Or struct {
	state.Object
	// Stands says whether the predecessor's is there.
	Stands func(*kernel.Kernel) (bool, error)
}

// Rule marks it as one that translates or filters packets.
func (Or) Rule() {}

// Ensure is ours, unless the predecessor's is there.
func (o Or) Ensure(k *kernel.Kernel) (bool, error) {
	if stands, err := o.Stands(k); stands || err != nil {
		return false, err
	}
	return o.Object.Ensure(k)
}

// Verify looks for ours, and then for the predecessor's.
func (o Or) Verify(k *kernel.Kernel) error {
	err := o.Object.Verify(k)
	if err == nil {
		return nil
	}
	if stands, asked := o.Stands(k); asked == nil && stands {
		return nil
	}
	return err
}

// remove deletes what find finds, in one transaction, until nobody has changed the rules between.
func remove(k *kernel.Kernel, wanted tables, find func(*listing) error) error {
	return nftable.Again(func() error {
		l, err := list(k, wanted)
		if err != nil {
			return err
		}
		if err := find(l); err != nil {
			return err
		}
		return l.run()
	})
}
