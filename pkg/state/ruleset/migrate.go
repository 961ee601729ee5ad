package ruleset

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// migrate gives what an earlier release has in its sets a place in those there are now, before its rules go: containers are
// masqueraded, overlay networks filtered and bridges told from other links without an ADD of theirs.
//
// The old sets go last, so that a process which is killed leaves them to the next one.
func migrate(k *kernel.Kernel, conn *nftables.Conn, l layout) error {
	masquerades, err := oldMasquerades(k)
	if err != nil {
		return err
	}
	peers, err := oldPeers(k)
	if err != nil {
		return err
	}
	bridges, err := oldBridges(k, l)
	if err != nil {
		return err
	}
	moved := slices.Concat(masquerades, peers)
	if len(moved) == 0 && len(bridges) == 0 {
		return nil
	}
	var errs []error
	for _, set := range l.sets {
		var elements []nftables.SetElement
		if set.Name == bridgesSet {
			elements = bridges
		}
		errs = append(errs, conn.AddSet(set, elements))
	}
	errs = append(errs, conn.Flush())
	for _, e := range moved {
		if err := k.AddElements([]kernel.Element{e}); err != nil && !errors.Is(err, unix.EEXIST) {
			errs = append(errs, fmt.Errorf("nft add element %s %s: %w", nftable.TableName(l.table), e.Set.Name, err))
		}
	}
	return errors.Join(errs...)
}

// oldMasquerades were told by their addresses alone.
func oldMasquerades(k *kernel.Kernel) (moved []kernel.Element, err error) {
	old, err := oldElements(k, "masquerade4", "masquerade6")
	if err != nil || len(old) == 0 {
		return nil, err
	}
	from, err := sendingLinks(k)
	if err != nil {
		return nil, err
	}
	for _, e := range old {
		addr, _ := netip.AddrFromSlice(e.Key)
		for _, link := range from[e.Comment] {
			moved = append(moved, kernel.Element{
				Set: masqueradeMap(addr), Key: append(nftable.IfName(link), e.Key...), Jump: e.Jump, Comment: e.Comment,
			})
		}
	}
	return moved, nil
}

// oldPeers have the same keys: what is one byte of a VNI less is filled up.
func oldPeers(k *kernel.Kernel) (moved []kernel.Element, err error) {
	for old, set := range map[string]*nftables.Set{"vxlan": vniSet().Set, "vxlan_peers4": peerSet(any4).Set, "vxlan_peers6": peerSet(any6).Set} {
		found, err := oldElements(k, old)
		if err != nil {
			return nil, err
		}
		for _, e := range found {
			e.Set = set
			moved = append(moved, e)
		}
	}
	return moved, nil
}

// oldBridges were told by their device group, and there was no set of them: where the set is, whoever made it has declared
// what is to be in it, or is about to. The comment leaves it to the next ADD to look at all of it.
func oldBridges(k *kernel.Kernel, l layout) (moved []nftables.SetElement, err error) {
	if !slices.ContainsFunc(l.sets, func(s *nftables.Set) bool { return s.Name == bridgesSet }) {
		return nil, nil
	}
	links, err := kernel.Dump(k.Host.LinkList)
	if err != nil {
		return nil, fmt.Errorf("ip link show: %w", err)
	}
	for _, link := range links {
		if a := link.Attrs(); link.Type() == "bridge" && a.Group == state.BridgeGroup {
			moved = append(moved, nftables.SetElement{Key: nftable.IfName(a.Name), Comment: state.BridgeTag(a.Name) + " of an earlier release"})
		}
	}
	return moved, nil
}

// oldElements are those of sets of any type. A set that does not exist has none.
func oldElements(k *kernel.Kernel, names ...string) (all []kernel.Element, err error) {
	for _, name := range names {
		found, err := nftable.Elements(k, &nftables.Set{Table: InetTable(), Name: name})
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// sendingLinks are the links by which the host may take packets of each owner that has a link: the host's end of its veth,
// or the bridge that it is a port of, with the interfaces in the bridge's VLANs.
func sendingLinks(k *kernel.Kernel) (map[string][]string, error) {
	links, err := kernel.Dump(k.Host.LinkList)
	if err != nil {
		return nil, fmt.Errorf("ip link show: %w", err)
	}
	names := make(map[int]string, len(links))
	for _, link := range links {
		names[link.Attrs().Index] = link.Attrs().Name
	}
	from := make(map[string][]string)
	for _, link := range links {
		a := link.Attrs()
		master := names[a.MasterIndex]
		switch {
		case a.Alias == "":
		case master == "":
			from[a.Alias] = []string{a.Name}
		default:
			from[a.Alias] = append(vlansOf(master, links), master)
		}
	}
	return from, nil
}

// vlansOf are the host's interfaces in the VLANs of a bridge: BRIDGE.VLAN.
func vlansOf(bridge string, links []netlink.Link) (names []string) {
	for _, link := range links {
		var vlan int
		if n, _ := fmt.Sscanf(link.Attrs().Name, bridge+".%d", &vlan); n == 1 {
			names = append(names, link.Attrs().Name)
		}
	}
	return names
}
