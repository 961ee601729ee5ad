package predecessor

import (
	"net/netip"

	"github.com/google/nftables"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Published is the ports that portmap has published for a container, by either of its backends.
type Published struct {
	rules
	Owner state.Owner
	// Addrs are the container's on the network. With the backend nftables, the rules say for whom they are and not on which network. Empty: all
	// of the container's go.
	Addrs []netip.Addr
}

var _ state.Rule = Published{}

func (p Published) String() string { return "# no chain " + portsChain(p.Owner) + " in table nat" }

var portTables = tables{natTable: ipFamilies, hostPortTable: ipFamilies}

// Remove takes them away.
func (p Published) Remove(k *kernel.Kernel) error {
	return remove(k, portTables, func(l *listing) error {
		for _, family := range ipFamilies {
			if err := p.dropChain(l, family); err != nil {
				return err
			}
			if err := p.dropRules(l, family); err != nil {
				return err
			}
		}
		return nil
	})
}

// dropChain lets the container's chain of iptables go, and after the last one those that all share.
func (p Published) dropChain(l *listing, family nftables.TableFamily) error {
	own := portsChain(p.Owner)
	chain, err := l.chain(family, natTable, own)
	if chain == nil || err != nil {
		return err
	}
	l.goneChains = append(l.goneChains, chain)
	left, err := l.dropRules(family, natTable, hostPortChain, func(r *nftables.Rule) bool { return target(r) == own })
	if err != nil || left > 0 {
		return err
	}
	for chain, from := range map[string][]string{
		hostPortChain: {"PREROUTING", "OUTPUT"}, markMasqChain: {"POSTROUTING"}, setMarkChain: nil,
	} {
		if err := l.dropChain(family, natTable, chain, from...); err != nil {
			return err
		}
	}
	return nil
}

// portChains are the chains of nftables that have rules of containers.
var portChains = []string{"hostports", "hostip_hostports", "masquerading"}

// dropRules lets the container's rules of nftables go, and their table after the last one.
func (p Published) dropRules(l *listing, family nftables.TableFamily) error {
	before, left := len(l.goneRules), 0
	for _, chain := range portChains {
		others, err := l.dropRules(family, hostPortTable, chain, p.has)
		if err != nil {
			return err
		}
		left += others
	}
	if left == 0 && len(l.goneRules) > before {
		l.dropTable(family, hostPortTable)
	}
	return nil
}

// has says whether a rule of nftables is the container's on this network.
func (p Published) has(r *nftables.Rule) bool {
	return comment(r) == p.Owner.ContainerID && (len(p.Addrs) == 0 || isAbout(r, p.Addrs))
}

// Stands says whether portmap has published ports for the container.
func (p Published) Stands(k *kernel.Kernel) (bool, error) {
	l, err := list(k, portTables)
	if err != nil {
		return false, err
	}
	for _, family := range ipFamilies {
		if chain, err := l.chain(family, natTable, portsChain(p.Owner)); chain != nil || err != nil {
			return err == nil, err
		}
		rules, err := l.rules(family, hostPortTable, portChains[0])
		if err != nil {
			return false, err
		}
		for _, r := range rules {
			if p.has(r) {
				return true, nil
			}
		}
	}
	return false, nil
}
