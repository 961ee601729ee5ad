package main

import (
	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/policyrouting"
)

// plan declares a rule for each address of the interface.
func plan(c conf, l attach.Link) (state.Set, attach.Amendment) {
	sources := policyrouting.Sources{Link: l.Owner.IfName}
	if c.Table != nil {
		sources.Table = *c.Table
	}
	for _, ip := range l.Lease.IPs {
		sources.Addrs = append(sources.Addrs, policyrouting.Source{Prefix: ip.Prefix, Gateway: ip.Gateway})
	}
	return state.Set{sources}, attach.Amendment{}
}
