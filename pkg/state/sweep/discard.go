package sweep

import (
	"errors"
	"fmt"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state/bridging"
	"github.com/fairway-cni/fairway/pkg/state/ports"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
)

// Discard removes everything of a network that is no more from the host: what is left of its containers, and its bridge,
// unless bridge is empty. A bridge stays that has ports, or that fairway did not make (its MAC tells): somebody else's
// network may be on it. Absence is success; errors are joined.
func Discard(k *kernel.Kernel, network, bridge string) error {
	errs := []error{Prune(k, network, nil)}
	if bridge != "" {
		errs = append(errs, discardBridge(k, bridging.Bridge{Name: bridge}))
	}
	return errors.Join(errs...)
}

func discardBridge(k *kernel.Kernel, b bridging.Bridge) error {
	link, err := k.Host.LinkNow(b.Name)
	switch {
	case kernel.IsNotFound(err):
	case err != nil:
		return fmt.Errorf("ip link show %s: %w", b.Name, err)
	case !b.Made(link):
		return nil
	default:
		if err := b.Remove(k); err != nil {
			return err
		}
	}
	// Both look for bridges that are not there any more.
	nobody := func(string) bool { return false }
	return errors.Join(ruleset.PruneBridges(k), ports.Prune(k, nobody))
}
