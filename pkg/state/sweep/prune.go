// Package sweep finds and removes what attachments and networks have left on the host: for GC, for the removal of a
// network, and for those who only look. It needs CAP_NET_ADMIN in the host's namespace.
package sweep

import (
	"errors"
	"fmt"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/admission"
	"github.com/fairway-cni/fairway/pkg/state/naming"
	"github.com/fairway-cni/fairway/pkg/state/ports"
	"github.com/fairway-cni/fairway/pkg/state/qdisc"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
)

// Prune removes everything of a network's owners that are not among the valid ones, wherever it is: links on the host and
// nftables elements. It goes on past errors. What the network's owners share stays, but for chains that nothing uses.
func Prune(k *kernel.Kernel, network string, valid []state.Owner) error {
	names := make(map[string]bool)
	for _, o := range valid {
		names[o.HostLink()] = true
	}
	stale := state.Stale(network, valid)
	return errors.Join(
		// Elements first, as in Set.Remove: the kernel frees them while it takes the links down.
		ruleset.PruneElements(k, stale),
		ports.Prune(k, stale),
		admission.Prune(k, stale),
		qdisc.Prune(k, network, valid),
		pruneLinks(k, network, func(name string) bool { return !names[name] }),
		naming.Prune(network, valid),
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
		if attrs := link.Attrs(); state.IsHostEnd(attrs, network) && stale(attrs.Name) {
			errs = append(errs, state.DeleteLink(k.Host, link))
		}
	}
	return errors.Join(errs...)
}
