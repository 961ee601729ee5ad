package sweep

import (
	"errors"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state/admission"
	"github.com/fairway-cni/fairway/pkg/state/bridging"
	"github.com/fairway-cni/fairway/pkg/state/naming"
	"github.com/fairway-cni/fairway/pkg/state/ports"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
)

// DiscardBridge removes a bridge as Discard does.
func DiscardBridge(k *kernel.Kernel, name string) error {
	return discardBridge(k, bridging.Bridge{Name: name})
}

// PruneShared removes what no owner's tag is on and nobody uses: elements of bridges that have gone, chains to which nothing leads, and
// what killed processes were writing of names. Marks do not show it. It goes on past errors.
func PruneShared(k *kernel.Kernel) error {
	nobody := func(string) bool { return false }
	return errors.Join(
		ruleset.PruneElements(k, nobody), ports.Prune(k, nobody), admission.Prune(k, nobody),
		naming.Prune("", nil), // of no network
		k.Finish())
}
