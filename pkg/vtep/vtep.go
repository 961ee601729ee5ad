// Package vtep declares what one host has of an overlay network: it leads from the model to kernel state, for the plugin
// and for the node agent alike. It is pure.
package vtep

import (
	"net/netip"
	"slices"

	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
	"github.com/fairway-cni/fairway/pkg/state/vxlan"
)

// Declare is the part of a network that the host with the entry own has, on an underlay whose MTU is underlayMTU bytes.
func Declare(n overlay.Network, h overlay.Hosts, own overlay.Peer, underlayMTU int) vxlan.Overlay {
	link := overlay.LinkName(n.VNI)
	o := vxlan.Overlay{
		Isolation: ruleset.OverlayIsolation{Network: n.Name, Internal: n.Internal, Open: n.Open},
		Filter:    ruleset.SourceFilter{Network: n.Name, VNI: n.VNI, Port: n.Port},
		Device: vxlan.VXLAN{
			Network: n.Name, Name: link, VNI: n.VNI, Port: n.Port,
			Local: own.VTEP, MAC: overlay.VTEPMAC(n.VNI, own.VTEP), MTU: n.MTU,
		},
		Peers:   vxlan.PeerTable{Link: link, VNI: n.VNI},
		Subnets: n.Subnets,
	}
	if n.MTU == 0 {
		o.Device.MTU = underlayMTU - overlay.Overhead(own.VTEP)
	}
	for _, block := range own.Blocks {
		o.Device.Addresses = append(o.Device.Addresses, overlay.Gateway(block))
	}
	o.Peers.Unreachable = append(append([]netip.Prefix(nil), n.Subnets...), own.Blocks...)
	pins := pinsByVTEP(h.Pins)
	o.Filter.Sources, o.Peers.Peers = make([]netip.Addr, 0, len(h.Peers)), make([]vxlan.Peer, 0, len(h.Peers))
	for _, p := range h.Peers {
		if p.VTEP == own.VTEP {
			continue
		}
		o.Filter.Sources = append(o.Filter.Sources, p.VTEP)
		o.Peers.Peers = append(o.Peers.Peers, vxlan.Peer{
			VTEP: p.VTEP, MAC: overlay.VTEPMAC(n.VNI, p.VTEP),
			Prefixes: slices.Concat(p.Blocks, pins[p.VTEP]),
		})
	}
	return o
}

func pinsByVTEP(pins []overlay.Pin) map[netip.Addr][]netip.Prefix {
	all := make(map[netip.Addr][]netip.Prefix)
	for _, p := range pins {
		all[p.VTEP] = append(all[p.VTEP], netip.PrefixFrom(p.Address, p.Address.BitLen()))
	}
	return all
}
