package sweep

import (
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state/bridging"
)

// DiscardBridge removes a bridge as Discard does.
func DiscardBridge(k *kernel.Kernel, name string) error {
	return discardBridge(k, bridging.Bridge{Name: name})
}
