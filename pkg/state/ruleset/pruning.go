package ruleset

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

func PruneElements(k *kernel.Kernel, stale func(tag string) bool) error {
	_, spoofs := removeElements(k, spoofSets(), stale)
	masquerades := removeMasquerade(k, stale)
	return errors.Join(spoofs, masquerades, PruneBridges(k), pruneChains(k))
}

// PruneBridges forgets the isolation of bridges that are gone.
func PruneBridges(k *kernel.Kernel) error {
	_, err := removeElements(k, isolationSets(), func(comment string) bool {
		bridge, ok := bridgeOf(comment)
		if !ok {
			return false
		}
		_, err := k.Host.LinkNow(bridge)
		return kernel.IsNotFound(err)
	})
	return err
}

// pruneChains deletes the subnets' chains to which no element leads. The kernel refuses to delete one in use.
func pruneChains(k *kernel.Kernel) error {
	conn, err := k.Nftables()
	var chains []*nftables.Chain
	if err == nil {
		chains, err = conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	}
	switch {
	case nftable.Without(k, err):
		return nil
	case err != nil:
		return fmt.Errorf("nft list chains inet: %w", err)
	}
	var errs []error
	for _, c := range chains {
		if c.Table.Name != InetTable().Name || !strings.HasPrefix(c.Name, subnetChainPrefix) {
			continue
		}
		conn.FlushChain(c)
		conn.DelChain(c)
		if err := conn.Flush(); err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("nft delete chain inet fairway %s: %w", c.Name, err))
		}
	}
	return errors.Join(errs...)
}

// Holding is something on the host that belongs to one attachment.
type Holding struct {
	// Tag is the owner's.
	Tag string
	// Object names it, as "link veth0" or "element of nftables map inet fairway masquerade_from4".
	Object string
}

// TaggedElements lists the owners' elements of all sets and maps of a table. A table that does not exist has none.
func TaggedElements(k *kernel.Kernel, table *nftables.Table) ([]Holding, error) {
	conn, err := k.Nftables()
	if err != nil {
		return nil, err
	}
	sets, err := conn.GetSets(table)
	if err != nil {
		// The library does not tell which error it was: that there is no such table, or another.
		if absent, lookup := withoutTable(k, conn, table); absent || lookup != nil {
			return nil, lookup
		}
		return nil, fmt.Errorf("nft list sets %s: %w", nftable.TableName(table), err)
	}
	var held []Holding
	for _, set := range sets {
		elements, err := nftable.Elements(k, set)
		if err != nil {
			return nil, err
		}
		for _, e := range elements {
			if state.IsTag(e.Comment) {
				held = append(held, Holding{Tag: e.Comment, Object: "element of nftables " + kindOfSet(set) + " " + nftable.TableName(table) + " " + set.Name})
			}
		}
	}
	return held, nil
}

// withoutTable says whether there is no such table, or no nftables.
func withoutTable(k *kernel.Kernel, conn *nftables.Conn, table *nftables.Table) (bool, error) {
	tables, err := conn.ListTablesOfFamily(table.Family)
	if nftable.Without(k, err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("nft list tables: %w", err)
	}
	return !slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == table.Name }), nil
}

func kindOfSet(set *nftables.Set) string {
	if set.IsMap {
		return "map"
	}
	return "set"
}

// Masqueraded lists the addresses of containers that leave the host with the host's own.
func Masqueraded(k *kernel.Kernel) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for _, set := range masqueradeMaps() {
		elements, err := nftable.Elements(k, set)
		if err != nil {
			return nil, err
		}
		for _, e := range elements {
			if addr, ok := masqueradedAddress(e); ok {
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs, nil
}
