package ruleset

import (
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Isolation limits what the host forwards from and to a bridge. The host itself stays reachable, on the gateway.
type Isolation struct {
	Bridge string
	// Internal drops everything from and to other links.
	Internal bool
	// Isolated drops what comes from other bridges of fairway, and what goes to them.
	Isolated bool
}

var (
	_ state.Rule    = Isolation{}
	_ state.Readier = Isolation{}
)

// Rule marks it as one that translates or filters packets.
func (Isolation) Rule() {}

func (i Isolation) String() string {
	var lines []string
	for _, e := range i.elements() {
		key := i.Bridge
		if e.Set.Concatenation {
			key += " . " + i.Bridge
		}
		lines = append(lines, fmt.Sprintf("nft add element inet fairway %s { %s }", e.Set.Name, key))
	}
	return strings.Join(lines, " && ")
}

// Ensure adds the bridge to the sets in one transaction.
func (i Isolation) Ensure(k *kernel.Kernel) (bool, error) {
	if err := put(k, isolationLayout(), i.elements()); err != nil {
		return false, fmt.Errorf("%s: %w", i, err)
	}
	// The elements are the bridge's, whoever came first: an ADD that fails must not open it for the others.
	return false, nil
}

// Ready says whether nftables can be used.
func (Isolation) Ready(k *kernel.Kernel) error { return NftReady(k) }

// Verify looks for the bridge in the sets, and for the rules that use them.
func (i Isolation) Verify(k *kernel.Kernel) error {
	return verifyElements(k, isolationLayout(), i.elements())
}

// Remove takes the bridge out of the sets.
func (i Isolation) Remove(k *kernel.Kernel) error {
	tag := state.BridgeTag(i.Bridge)
	_, err := removeElements(k, isolationSets(), func(t string) bool { return t == tag })
	return err
}

func (i Isolation) elements() []kernel.Element {
	name, tag := ifName(i.Bridge), state.BridgeTag(i.Bridge)
	elements := []kernel.Element{{Set: withinSet(), Key: append(ifName(i.Bridge), name...), Comment: tag}}
	if i.Internal {
		elements = append(elements, kernel.Element{Set: internalSet(), Key: name, Comment: tag})
	}
	if i.Isolated {
		elements = append(elements, kernel.Element{Set: isolatedSet(), Key: name, Comment: tag})
	}
	return elements
}

// withinSet holds each limited bridge twice, as a pair of in and out: with br_netfilter loaded, frames between two ports
// of a bridge pass the forward hook as well.
func withinSet() *nftables.Set {
	return &nftables.Set{
		Table: InetTable(), Name: "within", Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIFName),
	}
}

func internalSet() *nftables.Set { return linkSet(InetTable(), "internal") }

func isolatedSet() *nftables.Set { return linkSet(InetTable(), "isolated") }

// linkSet is a set of links' names. The byte order is for nft, which shows the names by it.
func linkSet(table *nftables.Table, name string) *nftables.Set {
	return &nftables.Set{Table: table, Name: name, KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian}
}

func isolationSets() []*nftables.Set {
	return []*nftables.Set{withinSet(), internalSet(), isolatedSet()}
}

func isolationLayout() layout {
	in, out := meta(expr.MetaKeyIIFNAME, firstReg), meta(expr.MetaKeyOIFNAME, firstReg)
	return layout{sets: isolationSets(), chains: []chain{{
		Chain: &nftables.Chain{
			Table: InetTable(), Name: "forward", Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
		},
		rules: [][]expr.Any{
			// A name fills sixteen bytes, four of the kernel's registers of four.
			{in, meta(expr.MetaKeyOIFNAME, wideReg(1)), contained(withinSet()), accept()},
			{in, contained(internalSet()), drop()},
			{out, contained(internalSet()), drop()},
			{meta(expr.MetaKeyIIFGROUP, firstReg), bridgeGroup(), out, contained(isolatedSet()), drop()},
			{meta(expr.MetaKeyOIFGROUP, firstReg), bridgeGroup(), in, contained(isolatedSet()), drop()},
		},
	}}}
}

// wideReg is the n-th register of sixteen bytes, counted from 0.
func wideReg(n uint32) uint32 { return unix.NFT_REG_1 + n }

func meta(key expr.MetaKey, register uint32) expr.Any {
	return &expr.Meta{Key: key, Register: register}
}

func contained(set *nftables.Set) expr.Any {
	return &expr.Lookup{SourceRegister: firstReg, SetName: set.Name}
}

func bridgeGroup() expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: firstReg, Data: binaryutil.NativeEndian.PutUint32(state.BridgeGroup)}
}

func accept() expr.Any { return &expr.Verdict{Kind: expr.VerdictAccept} }

func drop() expr.Any { return &expr.Verdict{Kind: expr.VerdictDrop} }

// ifName is a link's name as nftables compares it: IFNAMSIZ bytes, filled with NULs.
func ifName(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}
