package sweep

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/admission"
	"github.com/fairway-cni/fairway/pkg/state/naming"
	"github.com/fairway-cni/fairway/pkg/state/ports"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
)

// Holdings lists what attachments of all networks have on the host: links, nftables elements and records of names. It changes nothing. What a
// killed ADD has left without a name is not among it; see Prune.
func Holdings(k *kernel.Kernel) ([]ruleset.Holding, error) {
	links, err := kernel.Dump(k.Host.LinkList)
	if err != nil {
		return nil, fmt.Errorf("ip link show: %w", err)
	}
	return holdings(k, links)
}

func holdings(k *kernel.Kernel, links []netlink.Link) ([]ruleset.Holding, error) {
	var held []ruleset.Holding
	for _, link := range links {
		if a := link.Attrs(); state.IsTag(a.Alias) {
			held = append(held, ruleset.Holding{Tag: a.Alias, Object: "link " + a.Name})
		}
	}
	for _, table := range []*nftables.Table{ruleset.InetTable(), ruleset.BridgeTable(), ports.Table(), admission.Table()} {
		elements, err := ruleset.TaggedElements(k, table)
		if err != nil {
			return nil, err
		}
		held = append(held, elements...)
	}
	records, err := naming.Records()
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		held = append(held, ruleset.Holding{Tag: state.Owner(r.Owner).Tag(), Object: "record of names"})
	}
	return held, nil
}
