package main

import (
	"net/netip"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/ports"
	"github.com/fairway-cni/fairway/pkg/state/predecessor"
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
	theirs := predecessor.Published{Owner: l.Owner, Addrs: addresses(l)}
	switch {
	case l.Removal:
		return append(set, published, theirs), attach.Amendment{}
	case l.Recorded:
		return append(set, predecessor.Or{Object: published, Stands: theirs.Stands}), attach.Amendment{}
	}
	return append(set, published), attach.Amendment{}
}

func addresses(l attach.Link) (addrs []netip.Addr) {
	for _, ip := range l.Lease.IPs {
		addrs = append(addrs, ip.Prefix.Addr())
	}
	return addrs
}

func prune(_ conf, k *attach.Kernel, network string, valid []state.Owner) error {
	return ports.Collect(k, state.Stale(network, valid))
}
