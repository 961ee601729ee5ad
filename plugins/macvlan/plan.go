package main

import (
	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/lan"
)

// plan declares the container's link, then what it is addressed by and the host's way to it; the announcement comes last.
func plan(c conf, r attach.Request, lease attach.Lease) (state.Set, attach.Result) {
	link := attach.ContainerLink{Name: r.Owner.IfName, DAD: c.EnableDAD, Autoconfigured: attach.Autoconfigured(c.IPAM.Type, c.AcceptRA)}

	var set state.Set
	if _, _, ok := c.master().VLAN(); ok || r.Removal {
		set = append(set, lan.VLANMaster{Owner: r.Owner, Master: c.master()})
	}
	set = append(set, c.macvlan(r, link.IPv6()))
	set = append(set, link.Configure(lease)...)
	if c.HostAccess || r.Removal {
		set = append(set, c.hostAccess(r, lease))
	}
	set = append(set, link.Announce(lease)...)
	return set, attach.Result{Lease: lease, Interfaces: []attach.Interface{{Name: r.Owner.IfName, In: state.Container}}}
}

func (c conf) macvlan(r attach.Request, ipv6 state.LinkIPv6) lan.Macvlan {
	return lan.Macvlan{
		Owner: r.Owner, Master: c.master(), Mode: c.Mode, MAC: c.mac, MTU: c.MTU, BroadcastQueue: c.BCQueueLen,
		IPv6: ipv6, RecordedMAC: r.RecordedMAC,
	}
}

func (c conf) hostAccess(r attach.Request, lease attach.Lease) lan.HostAccess {
	access := lan.HostAccess{Owner: r.Owner, Master: c.master(), Lender: r.Host}
	for _, ip := range lease.IPs {
		access.Addresses = append(access.Addresses, ip.Prefix.Addr())
	}
	return access
}

func (c conf) master() lan.Master {
	if c.LinkInContainer {
		return lan.Master{Name: c.Master, In: state.Container}
	}
	return lan.Master{Name: c.Master, In: state.Host}
}
