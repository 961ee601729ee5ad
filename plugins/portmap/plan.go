package main

import (
	"net/netip"

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
	published := ports.Published{
		Owner: l.Owner, Ports: c.ports, Hairpin: c.SNAT == nil || *c.SNAT,
	}
	published.MasqueradeAll = c.MasqAll && published.Hairpin
	if len(c.ports) > 0 {
		published.Addrs = firstOfEach(l.Lease)
	}
	return append(set, published), attach.Amendment{}
}

func firstOfEach(lease attach.Lease) []netip.Addr {
	var addrs []netip.Addr
	var has4, has6 bool
	for _, ip := range lease.IPs {
		addr := ip.Prefix.Addr()
		if addr.Is4() && has4 || addr.Is6() && has6 {
			continue
		}
		has4, has6 = has4 || addr.Is4(), has6 || addr.Is6()
		addrs = append(addrs, addr)
	}
	return addrs
}

func prune(_ conf, k *attach.Kernel, network string, valid []state.Owner) error {
	return ports.Collect(k, state.Stale(network, valid))
}
