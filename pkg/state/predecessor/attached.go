package predecessor

import (
	"github.com/google/nftables"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Attached is what bridge and ptp have for a container: masquerading, by either of their backends, and the check of its MAC.
type Attached struct {
	rules
	Owner state.Owner
}

var _ state.Rule = Attached{}

func (a Attached) String() string {
	return "# no chain " + masqueradeChain(a.Owner) + " in table nat"
}

var attachedTables = tables{
	natTable:        {nftables.TableFamilyIPv4, nftables.TableFamilyIPv6, nftables.TableFamilyBridge},
	masqueradeTable: {nftables.TableFamilyINet},
}

// Remove takes it away.
func (a Attached) Remove(k *kernel.Kernel) error {
	return remove(k, attachedTables, func(l *listing) error {
		for _, family := range ipFamilies {
			if err := l.dropChain(family, natTable, masqueradeChain(a.Owner), "POSTROUTING"); err != nil {
				return err
			}
		}
		if err := l.dropMasquerade(a.Owner); err != nil {
			return err
		}
		const family = nftables.TableFamilyBridge
		if err := l.dropChain(family, natTable, spoofChain(a.Owner), "PREROUTING"); err != nil {
			return err
		}
		return l.dropChain(family, natTable, spoofChain(a.Owner)+"-mac")
	})
}

// dropMasquerade lets the rules of a container go, and their table after the last one.
func (l *listing) dropMasquerade(o state.Owner) error {
	const family, chain = nftables.TableFamilyINet, "masq_checks"
	before := len(l.goneRules)
	left, err := l.dropRules(family, masqueradeTable, chain, commentBegins(masqueradeComment(o)))
	if left == 0 && len(l.goneRules) > before {
		l.dropTable(family, masqueradeTable)
	}
	return err
}
