package state

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Holding is something on the host that belongs to one attachment.
type Holding struct {
	// Tag is the owner's.
	Tag string
	// Object names it, as "link veth0" or "element of nftables map inet fairway masquerade4".
	Object string
}

// Holdings lists what attachments of all networks have on the host: links and nftables elements. It changes nothing. What a
// killed ADD has left without a name is not among it; see Prune.
func Holdings(k *kernel.Kernel) ([]Holding, error) {
	links, err := kernel.Dump(k.Host.LinkList)
	if err != nil {
		return nil, fmt.Errorf("ip link show: %w", err)
	}
	var held []Holding
	for _, link := range links {
		if a := link.Attrs(); isTag(a.Alias) {
			held = append(held, Holding{Tag: a.Alias, Object: "link " + a.Name})
		}
	}
	for _, table := range []*nftables.Table{inetTable(), bridgeTable()} {
		elements, err := taggedElements(k, table)
		if err != nil {
			return nil, err
		}
		held = append(held, elements...)
	}
	return held, nil
}

// taggedElements lists the owners' elements of all sets and maps of a table. A table that does not exist has none.
func taggedElements(k *kernel.Kernel, table *nftables.Table) ([]Holding, error) {
	conn, err := k.Nftables()
	if err != nil {
		return nil, err
	}
	sets, err := conn.GetSets(table)
	if err != nil {
		return nil, nil // there is no such table, or no nftables; the library does not tell which
	}
	var held []Holding
	for _, set := range sets {
		elements, err := elementsOf(k, set)
		if err != nil {
			return nil, err
		}
		for _, e := range elements {
			if isTag(e.Comment) {
				held = append(held, Holding{Tag: e.Comment, Object: "element of nftables " + kindOfSet(set) + " " + tableName(table) + " " + set.Name})
			}
		}
	}
	return held, nil
}

func kindOfSet(set *nftables.Set) string {
	if set.IsMap {
		return "map"
	}
	return "set"
}

// isTag says whether a text is the tag of an owner.
func isTag(text string) bool { return strings.HasPrefix(text, "fairway ") }

// Masqueraded lists the addresses of containers that leave the host with the host's own.
func Masqueraded(k *kernel.Kernel) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for _, set := range masqueradeMaps() {
		elements, err := elementsOf(k, set)
		if err != nil {
			return nil, err
		}
		for _, e := range elements {
			if addr, ok := netip.AddrFromSlice(e.Key); ok {
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs, nil
}
