package doctor

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/containernetworking/cni/libcni"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/hostlocal"
)

// settling is how long an ADD may take from its reservation to its end, when the runtime records it.
const settling = time.Minute

// checkReservations looks for addresses that host-local keeps for containers that are gone, and for ranges that are full.
func checkReservations(ctx context.Context, h *Host) ([]Finding, error) {
	var findings []Finding
	var errs []error
	for _, n := range h.Networks.All {
		if n.List == nil {
			continue
		}
		c, err := addressConfig(n)
		if err != nil {
			continue // of another IPAM plugin, or a matter of another check
		}
		full, err := hostlocal.NewStore(c).Full(ctx)
		errs = append(errs, err)
		for _, sentence := range full {
			findings = append(findings, warningf("network %s: %s", n.Name, sentence).command("fairway gc").remedy("or take a network with a larger subnet"))
		}
		stale, err := h.staleReservations(n, c)
		errs = append(errs, err)
		if len(stale) > 0 {
			findings = append(findings, warningf("network %s keeps %d %s for containers that are gone: %s", n.Name, len(stale),
				plural(len(stale), "address", "addresses"), some(stale)).command("fairway gc"))
		}
	}
	return findings, errors.Join(errs...)
}

// addressConfig is the addresses of a network that has them from host-local.
func addressConfig(n conflist.Network) (hostlocal.Config, error) {
	named, err := libcni.InjectConf(n.List.Plugins[0], map[string]any{"name": n.Name, "cniVersion": n.List.CNIVersion})
	if err != nil {
		return hostlocal.Config{}, err
	}
	return hostlocal.Parse(named.Bytes, "")
}

// staleReservations lists addresses with whom they are kept for.
func (h *Host) staleReservations(n conflist.Network, c hostlocal.Config) ([]string, error) {
	all, err := hostlocal.NewStore(c).Reservations()
	var stale []string
	for _, r := range all {
		excluded := r.Owner.IfName == "" // by hand, which gc respects
		if excluded || h.holds(n.Name, r.Owner) || !r.Void && time.Since(r.Made) < settling {
			continue
		}
		stale = append(stale, r.Addr.String()+" of "+r.Owner.String())
	}
	return stale, err
}

// holds says whether an attachment that is alive is the owner.
func (h *Host) holds(network string, o hostlocal.Owner) bool {
	return slices.ContainsFunc(h.Alive, func(a attachment.Attachment) bool {
		return a.Network == network && a.ID == o.ContainerID && a.IfName == o.IfName
	})
}
