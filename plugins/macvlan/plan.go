package main

import (
	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state"
)

// plan declares the container's link, then what it is addressed by; the announcement comes last.
func plan(c conf, r attach.Request, lease attach.Lease) (state.Set, attach.Result) {
	link := attach.ContainerLink{Name: r.Owner.IfName, DAD: c.EnableDAD}

	set := state.Set{c.macvlan(r)}
	set = append(set, link.Configure(lease)...)
	set = append(set, link.Announce(lease)...)
	return set, attach.Result{Lease: lease, Interfaces: []attach.Interface{{Name: r.Owner.IfName, In: state.Container}}}
}

func (c conf) macvlan(r attach.Request) state.Macvlan {
	return state.Macvlan{
		Owner: r.Owner, Master: c.master(), Mode: c.Mode, MAC: c.mac, MTU: c.MTU, BroadcastQueue: c.BCQueueLen,
		RecordedMAC: r.RecordedMAC,
	}
}

func (c conf) master() state.Master {
	if c.LinkInContainer {
		return state.Master{Name: c.Master, In: state.Container}
	}
	return state.Master{Name: c.Master, In: state.Host}
}
