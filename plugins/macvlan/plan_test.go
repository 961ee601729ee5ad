package main

import (
	"net/netip"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state"
)

var owner = state.Owner{Network: "net", ContainerID: "c1", IfName: "eth0"}

// planned is one configuration and the lease it meets.
type planned struct {
	name, conf string
	lease      attach.Lease
	removal    bool
}

func plans() []planned {
	none, v4, dual := attach.Lease{}, lease("10.1.0.2/24"), lease("10.1.0.2/24", "fd01::2/64")
	return []planned{
		{"default-master", `{}`, v4, false},
		{"l2", `{"master": "lan0"}`, none, false},
		{"options", `{"master": "lan0", "mode": "vepa", "mtu": 1400, "bcqueuelen": 5, "mac": "02:00:00:00:00:07"}`, none, false},
		{"dual-stack", `{"master": "lan0", "mode": "private"}`, dual, false},
		{"dad", `{"master": "lan0", "enabledad": true}`, dual, false},
		{"route", `{"master": "lan0"}`, withRoute(v4, "0.0.0.0/0", "10.1.0.1"), false},
		{"passthru", `{"master": "lan0", "mode": "passthru"}`, v4, false},
		{"in-container", `{"master": "net1", "linkInContainer": true}`, v4, false},
		{"vlan", `{"master": "lan0.10"}`, v4, false},
		{"host-access", `{"master": "lan0", "hostAccess": true, "ipam": {"type": "host-local"}}`, dual, false},
		{"del", `{"master": "lan0"}`, none, true},
	}
}

// lease has addresses without a gateway and routes.
func lease(prefixes ...string) attach.Lease {
	var l attach.Lease
	for _, p := range prefixes {
		l.IPs = append(l.IPs, attach.IP{Prefix: netip.MustParsePrefix(p)})
	}
	return l
}

func withRoute(l attach.Lease, dst, gateway string) attach.Lease {
	l.Routes = []attach.Route{{Dst: netip.MustParsePrefix(dst), GW: netip.MustParseAddr(gateway)}}
	return l
}
