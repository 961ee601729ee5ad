package ruleset

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// SpoofCheck drops frames from a container whose source MAC is not its own. It works in the bridge family, because
// frames between ports of one bridge pass no other hook.
type SpoofCheck struct {
	Owner state.Owner
	// MAC is the only source address allowed.
	MAC net.HardwareAddr
	// Off declares that the container's frames are not checked: an earlier attachment of the owner may have left a check.
	Off bool
}

var (
	_ state.Rule    = SpoofCheck{}
	_ state.Readier = SpoofCheck{}
)

// Rule marks it as one that translates or filters packets.
func (SpoofCheck) Rule() {}

func (s SpoofCheck) String() string {
	link := s.Owner.HostLink()
	if s.Off {
		return fmt.Sprintf("# no element %s in nftables set bridge fairway checked", link)
	}
	return fmt.Sprintf("nft add element bridge fairway checked { %s } && nft add element bridge fairway genuine { %s . %s }",
		link, link, s.MAC)
}

// Ensure adds the container's link to the checked ones, with its MAC, in one transaction.
func (s SpoofCheck) Ensure(k *kernel.Kernel) (bool, error) {
	err := s.dropLeftover(k)
	if s.Off {
		if nftable.Without(k, err) {
			err = nil
		}
		return false, err
	}
	var stands bool
	if err == nil {
		stands, err = allStanding(k, BridgeTable(), spoofChains())
	}
	if err == nil && !stands {
		err = build(k, spoofLayout())
	}
	if err == nil {
		err = put(k, spoofLayout, s.elements())
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", s, nftable.Unsupported(err))
	}
	return true, nil
}

// dropLeftover removes what an interrupted ADD of the same owner left: it may allow another MAC. What is as declared stays,
// because the container may be sending.
func (s SpoofCheck) dropLeftover(k *kernel.Kernel) error {
	own := s.elements()
	left, err := nftable.LookUp(k, own[0])
	if err != nil || left.Key == nil {
		return nftable.Unsupported(err)
	}
	if s.Off {
		return s.Remove(k)
	}
	_, err = nftable.Remove(k, spoofSets(), func(e kernel.Element) bool {
		declared := slices.ContainsFunc(own, func(o kernel.Element) bool { return elementID(o) == elementID(e) })
		return e.Comment == s.Owner.Tag() && !declared
	})
	return err
}

// Ready says whether nftables can be used.
func (s SpoofCheck) Ready(k *kernel.Kernel) error {
	if s.Off {
		return nil
	}
	return nftable.Ready(k)
}

// Verify looks for both elements and the rule that uses them.
func (s SpoofCheck) Verify(k *kernel.Kernel) error {
	if s.Off {
		return heldElements(k, s.elements()[:1]) // without it, the other has no effect
	}
	return errors.Join(verifyChains(k, BridgeTable(), spoofChains()), verifyElements(k, s.elements()))
}

// Remove deletes the owner's elements, whatever MAC they have.
func (s SpoofCheck) Remove(k *kernel.Kernel) error {
	tag := s.Owner.Tag()
	_, err := removeElements(k, spoofSets(), func(t string) bool { return t == tag })
	return err
}

func (s SpoofCheck) elements() []kernel.Element {
	link := nftable.IfName(s.Owner.HostLink())
	// Each part of a concatenation is filled up to a multiple of four bytes.
	pair := append(append(nftable.IfName(s.Owner.HostLink()), s.MAC...), 0, 0)
	return []kernel.Element{
		{Set: checkedSet(), Key: link, Comment: s.Owner.Tag()},
		{Set: genuineSet(), Key: pair, Comment: s.Owner.Tag()},
	}
}

func BridgeTable() *nftables.Table {
	return &nftables.Table{Name: "fairway", Family: nftables.TableFamilyBridge}
}

func checkedSet() *nftables.Set { return linkSet(BridgeTable(), "checked") }

func genuineSet() *nftables.Set {
	return &nftables.Set{
		Table: BridgeTable(), Name: "genuine", Comment: why["genuine"], Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr),
	}
}

func spoofSets() []*nftables.Set { return []*nftables.Set{checkedSet(), genuineSet()} }

// spoofLayout drops a frame that comes from a checked link with a pair of link and source MAC that is not genuine.
func spoofLayout() layout {
	return layout{table: BridgeTable(), sets: spoofSets(), chains: []chain{{
		Chain: &nftables.Chain{
			Table: BridgeTable(), Name: chainSpoof, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityFilter,
		},
		rules: []rule{{"a checked container sends from its own MAC alone", nftable.Match(in(checkedSet()), []expr.Any{
			&expr.Payload{Base: expr.PayloadBaseLLHeader, Offset: 6, Len: 6, DestRegister: wideReg(1)},
			missing(firstReg, genuineSet()),
		}, drop())}},
	}}}
}

const chainSpoof = "prerouting"

func spoofChains() []string { return []string{chainSpoof} }
