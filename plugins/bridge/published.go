package main

import (
	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state"
)

// published is the container's ports of the host, where the plugin publishes them itself. A network that masquerades is
// reached from outside by these alone, unless it is routed; one that does not needs the way for its answers.
func (c conf) published(r attach.Request, lease attach.Lease) state.Set {
	switch {
	case c.Internal && len(c.ports) > 0 && !r.Removal:
		return state.Set{state.Warning{Text: "ports are not published: the network is internal"}}
	case !r.Removal && (c.Internal || !c.Publishes() || r.OfAnotherSuite()):
		return nil
	}
	p := attach.Published(r.Owner, c.forwardingLink(), lease, c.ports)
	p.Only = c.masquerades() && !c.Routed
	return state.Set{p}
}
