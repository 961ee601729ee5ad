package main

import (
	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/ports"
)

// plan declares the ports, at the first address of each family.
func plan(c conf, l attach.Link) (state.Set, attach.Amendment) {
	var set state.Set
	if c.Backend == "iptables" && len(c.ports) > 0 {
		set = append(set, state.Warning{Text: "backend iptables: uses nftables instead, both work side by side"})
	}
	var lease attach.Lease
	if len(c.ports) > 0 {
		lease = l.Lease
	}
	published := attach.Published(l.Owner, "", lease, c.ports)
	published.Hairpin = c.SNAT == nil || *c.SNAT
	published.MasqueradeAll = c.MasqAll && published.Hairpin
	return append(set, published), attach.Amendment{}
}

func prune(_ conf, k *attach.Kernel, network string, valid []state.Owner) error {
	return ports.Collect(k, state.Stale(network, valid))
}
