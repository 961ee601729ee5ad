package main

import (
	"net/netip"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state"
)

var owner = state.Owner{Network: "net", ContainerID: "c1", IfName: "eth0"}

// planned is one configuration and the lease it meets, at ADD or at DEL.
type planned struct {
	name, conf string
	lease      attach.Lease
	removal    bool
}

func plans() []planned {
	none, v4, dual := attach.Lease{}, lease("10.1.0.2/24"), lease("10.1.0.2/24", "fd01::2/64")
	return []planned{
		{"l2", `{}`, none, false},
		{"l2-options", `{"bridge": "br0", "mtu": 1400, "promiscMode": true, "isGateway": true, "ipMasq": true}`, none, false},
		{"v4", `{"bridge": "br0"}`, v4, false},
		{"gateway", `{"bridge": "br0", "isGateway": true}`, dual, false},
		{"default-gateway", `{"bridge": "br0", "isDefaultGateway": true}`, v4, false},
		{"default-gateway-dual-stack", `{"bridge": "br0", "isDefaultGateway": true, "enabledad": true}`, dual, false},
		{"default-gateway-own-route", `{"bridge": "br0", "isDefaultGateway": true}`, withRoute(v4, "0.0.0.0/0", "10.1.0.9"), false},
		{"gateway-of-the-range", `{"bridge": "br0", "isGateway": true, "forceAddress": true}`, withGateway(v4, "10.1.0.254"), false},
		{"route-options", `{"bridge": "br0"}`, withRouteOptions(withGateway(v4, "10.1.0.1")), false},
		{"single-address", `{"bridge": "br0", "isDefaultGateway": true}`, lease("10.1.0.2/32"), false},
		{"internal", `{"bridge": "br0", "isDefaultGateway": true, "ipMasq": true, "internal": true, "ipam": {"type": "host-local"}}`, withRoute(v4, "0.0.0.0/0", ""), false},
		{"no-icc", `{"bridge": "br0", "icc": false}`, v4, false},
		{"port-isolation", `{"bridge": "br0", "portIsolation": true, "icc": true}`, v4, false},
		{"isolated", `{"bridge": "br0", "isolated": true}`, v4, false},
		{"vlan", `{"bridge": "br0", "vlan": 100, "isGateway": true}`, v4, false},
		{"vlan-preserve-default", `{"bridge": "br0", "vlan": 100, "preserveDefaultVlan": true}`, v4, false},
		{"vlan-trunk", `{"bridge": "br0", "vlanTrunk": [{"id": 7}, {"minID": 5, "maxID": 8}]}`, none, false},
		{"hairpin", `{"bridge": "br0", "hairpinMode": true}`, v4, false},
		{"spoof-check", `{"bridge": "br0", "macspoofchk": true, "runtimeConfig": {"mac": "02:00:00:00:00:07"}}`, v4, false},
		{"masquerade", `{"bridge": "br0", "isDefaultGateway": true, "ipMasq": true, "ipam": {"type": "host-local"}}`, dual, false},
		{"masquerade-iptables", `{"bridge": "br0", "ipMasq": true, "ipMasqBackend": "iptables", "ipam": {"type": "host-local"}}`, v4, false},
		{"disabled-container-interface", `{"bridge": "br0", "disableContainerInterface": true}`, none, false},
		{"published", `{"bridge": "br0", "isDefaultGateway": true, "ipMasq": true, "capabilities": {"portMappings": true}, "hostIP": "192.0.2.1",
			"publishFrom": ["192.0.2.0/24"], "ipam": {"type": "host-local"}, "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}}`, dual, false},
		{"published-routed", `{"bridge": "br0", "isDefaultGateway": true, "ipMasq": true, "capabilities": {"portMappings": true}, "routed": true,
			"ipam": {"type": "host-local"}}`, v4, false},
		{"published-internal", `{"bridge": "br0", "isDefaultGateway": true, "internal": true, "capabilities": {"portMappings": true},
			"ipam": {"type": "host-local"}, "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}}`, v4, false},
		{"published-by-portmap", `{"bridge": "br0", "isDefaultGateway": true, "ipMasq": true,
			"ipam": {"type": "host-local"}, "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}}`, v4, false},
		{"del", `{"bridge": "br0", "isDefaultGateway": true, "ipMasq": true, "macspoofchk": true, "isolated": true, "ipam": {"type": "host-local"}}`, none, true},
		{"del-l2", `{"bridge": "br0"}`, none, true},
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

func withGateway(l attach.Lease, gateway string) attach.Lease {
	l = attach.Lease{IPs: append([]attach.IP(nil), l.IPs...)}
	l.IPs[0].Gateway = netip.MustParseAddr(gateway)
	return l
}

// withRoute adds a route; an empty gateway leaves it to the address.
func withRoute(l attach.Lease, dst, gateway string) attach.Lease {
	route := attach.Route{Dst: netip.MustParsePrefix(dst)}
	if gateway != "" {
		route.GW = netip.MustParseAddr(gateway)
	}
	return attach.Lease{IPs: l.IPs, Routes: []attach.Route{route}}
}

func withRouteOptions(l attach.Lease) attach.Lease {
	table, link := 100, 253
	l.Routes = []attach.Route{
		{Dst: netip.MustParsePrefix("10.9.0.0/16"), MTU: 1300, AdvMSS: 1200, Priority: 50, Table: &table},
		{Dst: netip.MustParsePrefix("10.8.0.0/16"), Scope: &link},
	}
	return l
}
