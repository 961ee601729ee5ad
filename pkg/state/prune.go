package state

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Prune removes everything of a network's owners that are not among the valid ones, wherever it is: links on the host and
// nftables elements. It goes on past errors. What the network's owners share stays, but for chains that nothing uses.
func Prune(k *kernel.Kernel, network string, valid []Owner) error {
	names, tags := make(map[string]bool), make(map[string]bool)
	for _, o := range valid {
		names[o.HostLink()], tags[o.Tag()] = true, true
	}
	prefix := tagPrefix(network)
	stale := func(tag string) bool { return strings.HasPrefix(tag, prefix) && !tags[tag] }
	return errors.Join(
		// Elements first, as in Set.Remove: the kernel frees them while it takes the links down.
		pruneElements(k, stale),
		pruneLinks(k, network, func(name string) bool { return !names[name] }),
		k.Finish())
}

// pruneLinks removes the network's host ends whose name is stale. A link says whose it is by its alias, or by its group
// when its making was cut short before the alias.
func pruneLinks(k *kernel.Kernel, network string, stale func(name string) bool) error {
	links, err := kernel.Dump(k.Host.LinkList)
	if err != nil {
		return fmt.Errorf("ip link show: %w", err)
	}
	var errs []error
	for _, link := range links {
		if attrs := link.Attrs(); isHostEnd(attrs, network) && stale(attrs.Name) {
			errs = append(errs, deleteLink(k.Host, link))
		}
	}
	return errors.Join(errs...)
}

func isHostEnd(attrs *netlink.LinkAttrs, network string) bool {
	if len(attrs.Name) != hostLinkLen || !strings.HasPrefix(attrs.Name, hostLinkPrefix) || attrs.Group != group(network) {
		return false
	}
	return attrs.Alias == "" || strings.HasPrefix(attrs.Alias, tagPrefix(network))
}

func pruneElements(k *kernel.Kernel, stale func(tag string) bool) error {
	_, spoofs := removeElements(k, spoofSets(), stale)
	masquerades := removeMasquerade(k, stale)
	return errors.Join(spoofs, masquerades, pruneBridges(k), pruneChains(k))
}

// pruneBridges forgets the isolation of bridges that are gone.
func pruneBridges(k *kernel.Kernel) error {
	_, err := removeElements(k, isolationSets(), func(tag string) bool {
		bridge, ok := strings.CutPrefix(tag, bridgeTag(""))
		if !ok {
			return false
		}
		_, err := k.Host.LinkByName(bridge)
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
	case withoutNftables(err):
		return nil
	case err != nil:
		return fmt.Errorf("nft list chains inet: %w", err)
	}
	var errs []error
	for _, c := range chains {
		if c.Table.Name != inetTable().Name || !strings.HasPrefix(c.Name, subnetChainPrefix) {
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
