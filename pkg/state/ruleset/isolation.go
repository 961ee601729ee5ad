package ruleset

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/vishvananda/netlink"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// Isolation is what the host forwards from and to a bridge, or one of its VLANs. The host itself stays reachable, on the
// gateway. What is false is declared as well: of networks that share a link, the last ADD decides.
type Isolation struct {
	Bridge string
	// Link is where the host takes the containers' packets, and where it sends them: the bridge, or its interface in a VLAN.
	Link string
	// Internal drops everything from and to other links.
	Internal bool
	// Isolated drops what comes from other networks of fairway, and what goes to them.
	Isolated bool
	// Separate drops what the host would send back to the link: from one container to another.
	Separate bool
}

// It is no state.Rule: it is to stand before a container is on the bridge.
var _ state.Readier = Isolation{}

func (i Isolation) String() string {
	var lines []string
	for _, e := range i.elements() {
		key := i.Link
		if e.Set.Concatenation {
			key += " . " + i.Link
		}
		lines = append(lines, fmt.Sprintf("nft add element inet fairway %s { %s }", e.Set.Name, key))
	}
	return strings.Join(lines, " && ")
}

// Unlimited says whether the host forwards for the link as for any other.
func (i Isolation) Unlimited() bool { return !i.Internal && !i.Isolated && !i.Separate }

// Ensure declares the link.
func (i Isolation) Ensure(k *kernel.Kernel) (created bool, err error) {
	d := i.declared()
	stands, err := d.stands(k, len(d.elements)) // the comment of the first says whether there are others of the link
	if err == nil && !stands {
		created = true
		err = d.ensure(k)
	}
	switch {
	case nftable.Without(k, err) && i.Unlimited():
		return false, nil // nothing is limited without nftables
	case err != nil:
		return false, fmt.Errorf("%s: %w", i, nftable.Unsupported(err))
	}
	return created, nil
}

// Ready says whether nftables can be used, for a link that is limited.
func (i Isolation) Ready(k *kernel.Kernel) error {
	if i.Unlimited() {
		return nil
	}
	return nftable.Ready(k)
}

// Verify looks for the link in the sets, and for the rules that use them.
func (i Isolation) Verify(k *kernel.Kernel) error {
	err := i.declared().verify(k)
	if nftable.Without(k, err) && i.Unlimited() {
		return nil
	}
	return err
}

// Remove takes the link out of the sets, unless the bridge has ports: the elements are the link's, whoever came first, and an
// ADD that fails must not open it for the others.
func (i Isolation) Remove(k *kernel.Kernel) error {
	return k.TakeBack(func() error { return i.remove(k) })
}

func (i Isolation) remove(k *kernel.Kernel) error {
	links, err := kernel.Dump(k.Host.LinkList)
	if err != nil {
		return fmt.Errorf("ip link show master %s: %w", i.Bridge, err)
	}
	bridge := slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().Name == i.Bridge })
	if bridge >= 0 && slices.ContainsFunc(links, func(l netlink.Link) bool {
		return l.Attrs().MasterIndex == links[bridge].Attrs().Index && l.Attrs().Alias != state.BridgeTag(i.Bridge)
	}) {
		return nil
	}
	return i.declared().remove(k)
}

func (i Isolation) chains() []string {
	if i.Separate {
		return []string{chainForward, chainICC}
	}
	return []string{chainForward}
}

func (i Isolation) declared() declared {
	name := nftable.IfName(i.Link)
	return declared{
		sets: isolationSets(), chains: i.chains(), elements: i.elements(),
		own: func(e kernel.Element) bool { return bytes.HasPrefix(e.Key, name) },
	}
}

func (i Isolation) elements() []kernel.Element {
	name, tag := nftable.IfName(i.Link), state.BridgeTag(i.Bridge)
	pair := append(nftable.IfName(i.Link), name...)
	elements := []kernel.Element{
		{Set: linkSet(InetTable(), bridgesSet), Key: name, Comment: i.describe()},
		{Set: withinSet(), Key: pair, Comment: tag},
	}
	if i.Internal {
		elements = append(elements, kernel.Element{Set: linkSet(InetTable(), "internal"), Key: name, Comment: tag})
	}
	if i.Isolated {
		elements = append(elements, kernel.Element{Set: linkSet(InetTable(), "isolated"), Key: name, Comment: tag})
	}
	if i.Separate {
		elements = append(elements, kernel.Element{Set: iccSet(), Key: pair, Comment: tag})
	}
	return elements
}

// describe is the tag of the bridge and what is declared of the link: who finds another text has to look at all sets.
func (i Isolation) describe() string {
	text := state.BridgeTag(i.Bridge)
	for _, limit := range []struct {
		declared bool
		word     string
	}{{i.Internal, " internal"}, {i.Isolated, " isolated"}, {i.Separate, " icc=false"}} {
		if limit.declared {
			text += limit.word
		}
	}
	return text
}

// bridgeOf is the bridge that a comment names. A link's name holds no space.
func bridgeOf(comment string) (bridge string, ok bool) {
	rest, ok := strings.CutPrefix(comment, state.BridgeTag(""))
	bridge, _, _ = strings.Cut(rest, " ")
	return bridge, ok
}

// withinSet holds each link twice, as a pair of in and out: with br_netfilter loaded, frames between two ports of a bridge
// pass the forward hook as well.
func withinSet() *nftables.Set { return linkPairSet("within") }

// bridgesSet is the name of the set that tells bridges of networks from other links.
const bridgesSet = "bridges"

func iccSet() *nftables.Set { return linkPairSet("no_icc") }

func linkPairSet(name string) *nftables.Set {
	return &nftables.Set{
		Table: InetTable(), Name: name, Comment: why[name], Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIFName),
	}
}

// linkSet is a set of links' names. The byte order is for nft, which shows the names by it.
func linkSet(table *nftables.Table, name string) *nftables.Set {
	return &nftables.Set{
		Table: table, Name: name, Comment: why[name], KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian,
	}
}

func isolationSets() []*nftables.Set {
	return []*nftables.Set{
		linkSet(InetTable(), bridgesSet), withinSet(), linkSet(InetTable(), "internal"), linkSet(InetTable(), "isolated"), iccSet(),
	}
}
