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

// checkReservations looks for addresses that host-local keeps for containers that are gone.
func checkReservations(_ context.Context, h *Host) ([]Finding, error) {
	var findings []Finding
	var errs []error
	for _, n := range h.Networks.All {
		if n.List == nil {
			continue
		}
		stale, err := h.staleReservations(n)
		errs = append(errs, err)
		if len(stale) > 0 {
			findings = append(findings, warningf("network %s keeps %d %s for containers that are gone: %s", n.Name, len(stale),
				plural(len(stale), "address", "addresses"), some(stale)).remedy("fairway gc"))
		}
	}
	return findings, errors.Join(errs...)
}

// staleReservations lists addresses with whom they are kept for.
func (h *Host) staleReservations(n conflist.Network) ([]string, error) {
	named, err := libcni.InjectConf(n.List.Plugins[0], map[string]any{"name": n.Name, "cniVersion": n.List.CNIVersion})
	if err != nil {
		return nil, err
	}
	c, err := hostlocal.Parse(named.Bytes, "")
	if err != nil {
		return nil, nil // of another IPAM plugin, or a matter of another check
	}
	all, err := hostlocal.Reservations(c)
	var stale []string
	for _, r := range all {
		if h.holds(n.Name, r.Owner) || !r.Void && time.Since(r.Made) < settling {
			continue
		}
		if r.Owner == (hostlocal.Owner{}) {
			stale = append(stale, r.Addr.String()+" of nobody")
		} else {
			stale = append(stale, r.Addr.String()+" of "+r.Owner.String())
		}
	}
	return stale, err
}

// holds says whether an attachment that is alive is the owner. An old host-local recorded no interface.
func (h *Host) holds(network string, o hostlocal.Owner) bool {
	return slices.ContainsFunc(h.Alive, func(a attachment.Attachment) bool {
		return a.Network == network && a.ID == o.ContainerID && (a.IfName == o.IfName || o.IfName == "")
	})
}
