package doctor

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/containernetworking/cni/libcni"

	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/hostlocal"
	"github.com/fairway-cni/fairway/pkg/state"
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
		held, err := hostlocal.NewStore(c).Reservations()
		errs = append(errs, err)
		if err == nil {
			findings = append(findings, h.unreserved(n, c, held)...)
		}
		stale := h.stale(n, held)
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

// unreserved finds addresses that containers have, and that the next container may get.
func (h *Host) unreserved(n conflist.Network, c hostlocal.Config, held []hostlocal.Reservation) []Finding {
	reserved := make(map[netip.Addr]bool, len(held))
	for _, r := range held {
		reserved[r.Addr] = true
	}
	var findings []Finding
	for _, a := range h.on(n.Name) {
		for _, p := range a.Addresses {
			ofRange := slices.ContainsFunc(n.IPAM.Pools, func(pool conflist.Pool) bool { return pool.Subnet.Contains(p.Addr()) })
			if a.Unrecorded || !ofRange || reserved[p.Addr()] {
				continue
			}
			h.troubled = append(h.troubled, a.Owner())
			dir := filepath.Join(c.DataDir, c.Network)
			findings = append(findings, errorf("address %s of container %s is not reserved on network %s: another container may get it", p.Addr(), a.DisplayName(), n.Name).
				command(`mkdir -p %s && printf '%%s\r\n%%s' %s %s > %s`, shell(dir), shell(a.ID), shell(a.IfName), shell(filepath.Join(dir, p.Addr().String()))))
		}
	}
	return findings
}

// stale lists addresses with whom they are kept for.
func (h *Host) stale(n conflist.Network, held []hostlocal.Reservation) (stale []string) {
	for _, r := range held {
		excluded := r.Owner.IfName == "" // by hand, which gc respects
		if excluded || h.holds(n.Name, r.Owner) || !r.Void && time.Since(r.Made) < settling {
			continue
		}
		stale = append(stale, r.Addr.String()+" of "+r.Owner.String())
	}
	return stale
}

// holds says whether an attachment that is alive is the owner.
func (h *Host) holds(network string, o hostlocal.Owner) bool {
	return h.owners()[state.Owner{Network: network, ContainerID: o.ContainerID, IfName: o.IfName}]
}
