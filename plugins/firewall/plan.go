package main

import (
	"errors"
	"net/netip"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/admission"
	"github.com/fairway-cni/fairway/pkg/state/firewalld"
	"github.com/fairway-cni/fairway/pkg/state/predecessor"
)

// plan declares the container as admitted, and the policy of its bridge, the first link of the result.
func plan(c conf, l attach.Link) (state.Set, attach.Amendment) {
	var addrs []netip.Addr
	for _, ip := range l.Lease.IPs {
		addrs = append(addrs, ip.Prefix.Addr())
	}
	var admitted state.Object = admission.Admitted{Owner: l.Owner, Addrs: addrs}
	theirs := predecessor.Admitted{Addrs: addrs, IfName: l.Owner.IfName}
	if l.Recorded {
		admitted = predecessor.Or{Object: admitted, Stands: theirs.Stands}
	}
	set := state.Set{
		admitted,
		firewalld.Source{Owner: l.Owner, Zone: c.FirewalldZone, Addrs: addrs, Mode: c.firewalld()},
	}
	if l.Removal {
		set = append(set, theirs)
	}
	if !l.Reported {
		return set, attach.Amendment{}
	}
	policy := admission.Policy{Apart: c.IngressPolicy == "same-bridge" || c.IngressPolicy == "isolated", Isolated: c.IngressPolicy == "isolated"}
	if len(l.HostLinks) > 0 {
		policy.Bridge, policy.Ports = l.HostLinks[0], l.HostLinks[1:]
	}
	if l.Recorded {
		return append(set, predecessor.Or{Object: policy, Stands: predecessor.Apart(policy.Bridge)}), attach.Amendment{}
	}
	return append(set, policy), attach.Amendment{}
}

// firewalld is upstream's choice: where it runs, unless the backend is another.
func (c conf) firewalld() firewalld.Mode {
	switch c.Backend {
	case "firewalld":
		return firewalld.Always
	case "iptables":
		return firewalld.Never
	}
	return firewalld.WhereItRuns
}

func prune(c conf, k *attach.Kernel, network string, valid []state.Owner) error {
	stale := state.Stale(network, valid)
	return errors.Join(firewalld.Prune(k, c.FirewalldZone, stale), admission.Prune(k, stale))
}
