package ruleset

import (
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// OverlayIsolation limits what the host forwards between an overlay network and others. The network's links, its device
// and the host ends of its containers, are told by their device group.
type OverlayIsolation struct {
	Network string
	// Internal drops everything from and to other links.
	Internal bool
	// Open lets other open networks in, and bridges that are not isolated. False drops what comes from any other network.
	Open bool
}

var _ state.Readier = OverlayIsolation{}

func (i OverlayIsolation) String() string {
	var lines []string
	for _, e := range i.declared().elements {
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
	if err := i.declared().ensure(k); err != nil {
		return false, fmt.Errorf("isolation of network %s: %w", i.Network, err)
	}
	return false, nil
}

// Ready says whether nftables can be used.
func (OverlayIsolation) Ready(k *kernel.Kernel) error { return nftable.Ready(k) }

// Verify looks for the network in the sets, and for the rules that use them.
func (i OverlayIsolation) Verify(k *kernel.Kernel) error { return i.declared().verify(k) }

// Remove takes the network out of the sets.
func (i OverlayIsolation) Remove(k *kernel.Kernel) error { return i.declared().remove(k) }

func (i OverlayIsolation) declared() declared {
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
	return declared{
		sets: overlaySets(), chains: []string{chainForward, chainOwnSource}, elements: elements,
		own: func(e kernel.Element) bool { return e.Comment == tag },
	}
}

// Stands says whether the network is in the sets and the rules are there: a look that costs next to nothing.
func (i OverlayIsolation) Stands(k *kernel.Kernel) (bool, error) {
	d := i.declared()
	return d.stands(k, len(d.elements))
}

// overlayWithin holds each network twice, as a pair of in and out.
func overlayWithin() *nftables.Set {
	return &nftables.Set{
		Table: InetTable(), Name: "overlays_within", Comment: why["overlays_within"], Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeDevGroup, nftables.TypeDevGroup),
	}
}

// groupSet is a set of networks by their device groups.
func groupSet(name string) *nftables.Set {
	return &nftables.Set{
		Table: InetTable(), Name: name, Comment: why[name], KeyType: nftables.TypeDevGroup, KeyByteOrder: binaryutil.NativeEndian,
	}
}

func overlaySets() []*nftables.Set {
	return []*nftables.Set{overlayWithin(), groupSet("overlays"), groupSet("overlays_isolated"), groupSet("overlays_internal")}
}
