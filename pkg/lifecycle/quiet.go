package lifecycle

import (
	"context"
	"slices"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/driver"
	"github.com/fairway-cni/fairway/pkg/state"
)

// quiet tells networks of which plugins need not be asked to collect what is left: each would list the whole host by itself, and hundreds of
// networks nobody has ever been on.
type quiet struct {
	look
	left    map[string]bool
	owners  map[string][]state.Owner
	fairway func(plugin string) bool
}

func (h Host) newQuiet(ctx context.Context, l look) quiet {
	q := quiet{look: l, left: map[string]bool{}, owners: map[string][]state.Owner{}}
	for _, left := range l.left {
		q.left[left.Network] = true
	}
	for _, a := range l.attached {
		q.owners[a.Network] = append(q.owners[a.Network], a.Owner())
	}
	asked := map[string]bool{}
	q.fairway = func(plugin string) bool {
		is, known := asked[plugin]
		if !known {
			is = driver.Path(h.Runtime.Plugins).Fairway(ctx, plugin)
			asked[plugin] = is
		}
		return is
	}
	return q
}

// collectedHere are the plugins of which all that GC removes was looked for: what has a tag or a group, and addresses of host-local.
var collectedHere = []string{"bridge", "portmap", "firewall", "tuning", "bandwidth", "sbr"}

// is says whether nothing of the network is left over, as far as its plugins would find anything.
func (q quiet) is(n conflist.Network) bool {
	for _, plugin := range n.List.Plugins {
		if !slices.Contains(collectedHere, plugin.Network.Type) || !q.fairway(plugin.Network.Type) {
			return false
		}
	}
	if ipam := n.List.Plugins[0].Network.IPAM.Type; ipam != "host-local" && ipam != "static" && ipam != "" {
		return false
	}
	return !q.left[n.Name] && !q.marks.Stale(n.Name, q.owners[n.Name])
}

// unused says whether the network has nothing on the host at all, not even a container that has gone.
func (q quiet) unused(n conflist.Network) bool {
	return n.List != nil && len(q.owners[n.Name]) == 0 && (n.Link == "" || !q.marks.HasLink(n.Link)) && q.is(n)
}

// alive says whether a container is on the network.
func (q quiet) alive(network string) bool {
	return len(q.owners[network]) > 0 && len(attachment.Of(network, q.attached)) > 0
}
