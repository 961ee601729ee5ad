package sweep

import (
	"fmt"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/bridging"
)

// OrphanBridges are the bridges that fairway made, which have no port and are of no network: its file was removed by hand. It changes
// nothing.
func OrphanBridges(k *kernel.Kernel, ofNetwork func(bridge string) bool) (names []string, err error) {
	links, err := kernel.Dump(k.Host.LinkList)
	if err != nil {
		return nil, fmt.Errorf("ip link show: %w", err)
	}
	ports := make(map[int]bool)
	for _, link := range links {
		ports[link.Attrs().MasterIndex] = true
	}
	for _, link := range links {
		a := link.Attrs()
		if a.Group == state.BridgeGroup && (bridging.Bridge{Name: a.Name}).Made(link) && !ports[a.Index] && !ofNetwork(a.Name) {
			names = append(names, a.Name)
		}
	}
	return names, nil
}

// DiscardBridge removes a bridge as Discard does.
func DiscardBridge(k *kernel.Kernel, name string) error {
	return discardBridge(k, bridging.Bridge{Name: name})
}
