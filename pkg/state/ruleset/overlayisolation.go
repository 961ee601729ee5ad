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

// OverlayIsolation limits what the host forwards between an overlay network and others. The network's links, its device
// and the host ends of its containers, are told by their device group.
type OverlayIsolation struct {
	Network string
	// Internal drops everything from and to other links.
	Internal bool
	// Open lets other open networks in. False drops what comes from any other overlay network.
	Open bool
}

var _ state.Readier = OverlayIsolation{}

func (i OverlayIsolation) String() string {
	var lines []string
	for _, e := range i.tagged().elements {
		key := fmt.Sprint(state.Group(i.Network))
		if e.Set.Concatenation {
			key += " . " + key
		}
		lines = append(lines, fmt.Sprintf("nft add element inet fairway %s { %s }", e.Set.Name, key))
	}
	return strings.Join(lines, " && ")
}

// Ensure adds the network to the sets. It says that it created nothing, as Isolation does.
func (i OverlayIsolation) Ensure(k *kernel.Kernel) (bool, error) {
	if err := i.tagged().ensure(k); err != nil {
		return false, fmt.Errorf("isolation of network %s: %w", i.Network, err)
	}
	return false, nil
}

// Ready says whether nftables can be used.
func (OverlayIsolation) Ready(k *kernel.Kernel) error { return NftReady(k) }

// Verify looks for the network in the sets, and for the rules that use them.
func (i OverlayIsolation) Verify(k *kernel.Kernel) error { return i.tagged().verify(k) }

// Remove takes the network out of the sets.
func (i OverlayIsolation) Remove(k *kernel.Kernel) error { return i.tagged().remove(k) }

func (i OverlayIsolation) tagged() tagged {
	tag := state.OverlayTag(i.Network)
	key := binaryutil.NativeEndian.PutUint32(state.Group(i.Network))
	elements := []kernel.Element{
		{Set: overlayWithin(), Key: append(append([]byte(nil), key...), key...), Comment: tag},
		{Set: groupSet("overlays"), Key: key, Comment: tag},
	}
	if i.Internal {
		elements = append(elements, kernel.Element{Set: groupSet("overlays_internal"), Key: key, Comment: tag})
	}
	if !i.Open {
		elements = append(elements, kernel.Element{Set: groupSet("overlays_isolated"), Key: key, Comment: tag})
	}
	return tagged{layout: overlayIsolationLayout(), tag: tag, elements: elements}
}

// overlayWithin holds each network twice, as a pair of in and out.
func overlayWithin() *nftables.Set {
	return &nftables.Set{
		Table: InetTable(), Name: "overlays_within", Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeDevGroup, nftables.TypeDevGroup),
	}
}

// groupSet is a set of networks by their device groups.
func groupSet(name string) *nftables.Set {
	return &nftables.Set{Table: InetTable(), Name: name, KeyType: nftables.TypeDevGroup, KeyByteOrder: binaryutil.NativeEndian}
}

func overlayIsolationLayout() layout {
	all, isolated, internal := groupSet("overlays"), groupSet("overlays_isolated"), groupSet("overlays_internal")
	in, out := meta(expr.MetaKeyIIFGROUP, firstReg), meta(expr.MetaKeyOIFGROUP, firstReg)
	pairIn, pairOut := meta(expr.MetaKeyIIFGROUP, unix.NFT_REG32_00), meta(expr.MetaKeyOIFGROUP, unix.NFT_REG32_01)
	pair := &expr.Lookup{SourceRegister: unix.NFT_REG32_00, SetName: overlayWithin().Name}
	return layout{
		sets: []*nftables.Set{overlayWithin(), all, isolated, internal},
		chains: []chain{{
			Chain: &nftables.Chain{
				Table: InetTable(), Name: "overlay_forward", Type: nftables.ChainTypeFilter,
				Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
			},
			rules: [][]expr.Any{
				{pairIn, pairOut, pair, accept()},
				{in, contained(internal), drop()},
				{out, contained(internal), drop()},
				{in, contained(all), out, contained(isolated), drop()},
				{in, contained(isolated), out, contained(all), drop()},
			},
		}},
	}
}
