package vxlan

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// change is one entry of a PeerTable that is missing, wrong, or surplus.
type change struct {
	request kernel.Message
	surplus bool
	// text names the entry as ip and bridge show it.
	text string
	// route is the route that is added, for one whose place is taken.
	route *kernel.RouteEntry
}

func (c change) drift() string {
	if c.surplus {
		return c.text + " is no peer's"
	}
	return c.text + " is missing"
}

// raced says whether the route that was there already is one of ours: another process was faster.
func (c change) raced(k *kernel.Kernel) bool {
	routes, err := k.Routes(state.RouteProtocol)
	if err != nil || c.route == nil {
		return false
	}
	return slices.ContainsFunc(routes, func(r kernel.RouteEntry) bool {
		sameWay := r.Link == c.route.Link || r.Type == unix.RTN_UNREACHABLE && r.Metric == c.route.Metric
		return r.Dst == c.route.Dst && r.Type == c.route.Type && sameWay
	})
}

func writtenNeighbour(e kernel.NeighbourEntry) change {
	return change{request: e.Replace(), text: neighbourText(e)}
}

func surplusNeighbour(e kernel.NeighbourEntry) change {
	return change{request: e.Delete(), surplus: true, text: neighbourText(e)}
}

func neighbourText(e kernel.NeighbourEntry) string {
	if e.FDB {
		return fmt.Sprintf("forwarding entry %s dst %s", e.MAC, e.Addr)
	}
	return fmt.Sprintf("neighbour %s lladdr %s", e.Addr, e.MAC)
}

// writtenRoute adds a route. One of ours that leads elsewhere goes first, and never somebody else's: the kernel would
// replace whatever route has the metric.
func writtenRoute(r, other kernel.RouteEntry, wrong bool) (changes []change) {
	if wrong {
		changes = append(changes, surplusRoute(other))
	}
	return append(changes, change{request: r.Add(unix.NLM_F_EXCL), text: routeText(r), route: &r})
}

func surplusRoute(r kernel.RouteEntry) change {
	return change{request: r.Delete(), surplus: true, text: routeText(r)}
}

func routeText(r kernel.RouteEntry) string {
	switch {
	case r.Type == unix.RTN_UNREACHABLE:
		return fmt.Sprintf("route unreachable %s", r.Dst)
	case r.Via.IsValid():
		return fmt.Sprintf("route %s via %s", r.Dst, r.Via)
	}
	return fmt.Sprintf("route %s", r.Dst)
}
