package ruleset

import (
	"fmt"
	"net"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// SpoofCheck drops frames from a container whose source MAC is not its own. It works in the bridge family, because
// frames between ports of one bridge pass no other hook.
type SpoofCheck struct {
	Owner state.Owner
	// MAC is the only source address allowed.
	MAC net.HardwareAddr
}

var (
	_ state.Rule    = SpoofCheck{}
	_ state.Readier = SpoofCheck{}
)

// Rule marks it as one that translates or filters packets.
func (SpoofCheck) Rule() {}

func (s SpoofCheck) String() string {
	link := s.Owner.HostLink()
	return fmt.Sprintf("nft add element bridge fairway checked { %s } && nft add element bridge fairway genuine { %s . %s }",
		link, link, s.MAC)
}

// Ensure adds the container's link to the checked ones, with its MAC, in one transaction.
func (s SpoofCheck) Ensure(k *kernel.Kernel) (bool, error) {
	err := s.dropLeftover(k)
	if err == nil {
		err = put(k, spoofLayout(), s.elements())
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", s, err)
	}
	return true, nil
}

// dropLeftover removes what an interrupted ADD of the same owner left: it may allow another MAC.
func (s SpoofCheck) dropLeftover(k *kernel.Kernel) error {
	left, err := lookUp(k, s.elements()[0])
	if err != nil || left.Key == nil {
		return unsupported(err)
	}
	return s.Remove(k)
}

// Ready says whether nftables can be used.
func (SpoofCheck) Ready(k *kernel.Kernel) error { return NftReady(k) }

// Verify looks for both elements and the rule that uses them.
func (s SpoofCheck) Verify(k *kernel.Kernel) error {
	return verifyElements(k, spoofLayout(), s.elements())
}

// Remove deletes the owner's elements, whatever MAC they have.
func (s SpoofCheck) Remove(k *kernel.Kernel) error {
	tag := s.Owner.Tag()
	_, err := removeElements(k, spoofSets(), func(t string) bool { return t == tag })
	return err
}

func (s SpoofCheck) elements() []kernel.Element {
	link := ifName(s.Owner.HostLink())
	// Each part of a concatenation is filled up to a multiple of four bytes.
	pair := append(append(ifName(s.Owner.HostLink()), s.MAC...), 0, 0)
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
		Table: BridgeTable(), Name: "genuine", Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr),
	}
}

func spoofSets() []*nftables.Set { return []*nftables.Set{checkedSet(), genuineSet()} }

// spoofLayout drops a frame that comes from a checked link with a pair of link and source MAC that is not genuine.
func spoofLayout() layout {
	in := meta(expr.MetaKeyIIFNAME, firstReg)
	return layout{sets: spoofSets(), chains: []chain{{
		Chain: &nftables.Chain{
			Table: BridgeTable(), Name: "prerouting", Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityFilter,
		},
		rules: [][]expr.Any{{
			in, contained(checkedSet()),
			&expr.Payload{Base: expr.PayloadBaseLLHeader, Offset: 6, Len: 6, DestRegister: wideReg(1)},
			&expr.Lookup{SourceRegister: firstReg, SetName: genuineSet().Name, Invert: true},
			drop(),
		}},
	}}}
}
