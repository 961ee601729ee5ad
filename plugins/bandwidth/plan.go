package main

import (
	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/qdisc"
)

// plan declares the limits. The device of what the container sends is one of the result's interfaces, as upstream has it.
func plan(c conf, l attach.Link) (state.Set, attach.Amendment) {
	limits := qdisc.Limits{Owner: l.Owner, HostLinks: l.HostLinks, In: c.in, Out: c.out}
	var amendment attach.Amendment
	if c.out.Bits > 0 {
		amendment.Interfaces = []attach.Interface{{Name: qdisc.IFB(l.Owner), In: state.Host}}
	}
	if !l.Removal && (!l.Reported || c.in.Bits == 0 && c.out.Bits == 0) {
		return nil, attach.Amendment{}
	}
	return state.Set{limits}, amendment
}

func prune(_ conf, k *attach.Kernel, network string, valid []state.Owner) error {
	return qdisc.Prune(k, network, valid)
}
