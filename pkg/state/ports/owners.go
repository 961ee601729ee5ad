package ports

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// ByOwner lists what is published, by the tags of the owners, in the order of the container's ports. A port at all addresses
// stands there once for each family that the container has, with HostIP 0.0.0.0 and ::; Sources are not read.
func ByOwner(k *kernel.Kernel) (map[string][]Port, error) {
	published := map[string][]Port{}
	for _, family := range []netip.Addr{any4, any6} {
		for _, kind := range kinds(family) {
			if err := kind.collect(k, published, nil); err != nil {
				return nil, err
			}
		}
	}
	for _, list := range published {
		slices.SortFunc(list, func(a, b Port) int {
			return cmp.Or(cmp.Compare(a.ContainerPort, b.ContainerPort), cmp.Compare(a.Protocol, b.Protocol),
				a.HostIP.Compare(b.HostIP), cmp.Compare(a.HostPort, b.HostPort))
		})
	}
	return published, nil
}

// Unlimited are the ports of all addresses by which everybody may come in, by the tags of the owners, each family by itself. None is,
// once the administrator's chain has a rule.
func Unlimited(k *kernel.Kernel) (map[string][]Port, error) {
	if ruled, err := userChainRuled(k); ruled || err != nil {
		return nil, err
	}
	open := map[string][]Port{}
	for _, family := range []netip.Addr{any4, any6} {
		for _, kind := range kinds(family) {
			if !kind.anywhere {
				continue
			}
			limits, err := nftable.ElementsOf(k, kind.limited())
			if err != nil {
				return nil, err
			}
			limited := map[string]bool{}
			for _, e := range limits {
				limited[string(e.Key)] = true
			}
			if err := kind.collect(k, open, limited); err != nil {
				return nil, err
			}
		}
	}
	return open, nil
}

// collect adds the ports of a map to those of their owners, but for the keys that are left out.
func (k kind) collect(from *kernel.Kernel, byOwner map[string][]Port, except map[string]bool) error {
	elements, err := nftable.ElementsOf(from, k.published())
	for _, e := range elements {
		if port, _, ok := k.read(e); ok && !except[string(e.Key)] {
			byOwner[e.Comment] = append(byOwner[e.Comment], port)
		}
	}
	return err
}

// userChainRuled says whether the administrator decides who comes in.
func userChainRuled(k *kernel.Kernel) (bool, error) {
	conn, err := k.Nftables()
	if err != nil {
		return false, err
	}
	rules, err := conn.GetRules(Table(), &nftables.Chain{Table: Table(), Name: UserChain})
	if errors.Is(err, unix.ENOENT) || nftable.Without(k, err) {
		return false, nil
	}
	return len(rules) > 0, err
}

// Taken says whether a port of the host has an owner among those of ByOwner, at whatever address.
func Taken(published map[string][]Port, protocol uint8, port uint16) bool {
	for _, list := range published {
		if slices.ContainsFunc(list, func(p Port) bool { return p.Protocol == protocol && p.has(port) }) {
			return true
		}
	}
	return false
}
