// Package vtep declares what one host has of an overlay network: it leads from the model to kernel state, for the plugin
// and for the node agent alike. It is pure.
package vtep

import (
	"net/netip"
	"slices"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
	"github.com/fairway-cni/fairway/pkg/state/vxlan"
	"github.com/fairway-cni/fairway/pkg/state/wireguard"
)

// Declare is the part of a network that the host with the entry own has, on an underlay whose MTU is underlayMTU bytes. Of an
// encrypted network it has neither the private key nor a driver: Tunnel completes it.
func Declare(n overlay.Network, h overlay.Hosts, own overlay.Peer, underlayMTU int) vxlan.Overlay {
	o := declare(n, h, own, underlayMTU)
	if n.Encrypted {
		encrypt(&o, n, h, own)
	}
	return o
}

// Tunnel changes the tunnel of an encrypted network. Others have none, and stay as they are.
func Tunnel(o vxlan.Overlay, change func(*wireguard.Tunnel)) vxlan.Overlay {
	if o.Encrypted == nil {
		return o
	}
	tunnel := o.Encrypted.Tunnel.(wireguard.Tunnel)
	change(&tunnel)
	o.Encrypted = &vxlan.Encrypted{Filter: o.Encrypted.Filter, Tunnel: tunnel}
	return o
}

// encrypt replaces the way between the hosts. A peer without a key is in nothing that leads anywhere.
func encrypt(o *vxlan.Overlay, n overlay.Network, h overlay.Hosts, own overlay.Peer) {
	o.Filter.Sources = nil
	o.Peers = vxlan.PeerTable{VNI: n.VNI, Unreachable: o.Peers.Unreachable}
	pins := pinsByVTEP(h.Pins)
	tunnel := wireguard.Tunnel{
		Network: n.Name, Name: o.Device.Name, Port: n.WireguardPort, MTU: o.Device.MTU, Addresses: o.Device.Addresses,
		SpareName: overlay.SpareTunnelName(n.VNI),
	}
	spare := tunnel
	spare.Name, spare.SpareName, spare.Port = tunnel.SpareName, "", overlay.SparePort(n.WireguardPort)
	for _, p := range h.Peers {
		if p.VTEP == own.VTEP || p.Key.IsZero() {
			continue
		}
		lane, begins := overlay.LaneOf(own, p), overlay.Begins(own, p)
		peer := wireguard.Peer{
			Key: wgtypes.Key(p.Key), Endpoint: netip.AddrPortFrom(p.VTEP, tunnel.Port), Prefixes: slices.Concat(p.Blocks, pins[p.VTEP]),
			Idle: p.Spare, Wake: begins && lane == overlay.Returning,
		}
		tunnel.Peers = append(tunnel.Peers, peer)
		if lane == overlay.Settled {
			continue
		}
		peer.Key, peer.Endpoint = wgtypes.Key(p.LastKey()), netip.AddrPortFrom(p.VTEP, spare.Port)
		peer.Idle, peer.Wake = !p.Spare, begins && lane == overlay.Leaving
		spare.Peers = append(spare.Peers, peer)
	}
	if len(spare.Peers) > 0 {
		tunnel.Spare = &spare
	}
	o.Encrypted = &vxlan.Encrypted{
		Filter: ruleset.Encryption{Network: n.Name, VNI: n.VNI, Port: n.Port, Subnets: n.Subnets}, Tunnel: tunnel,
	}
}

func declare(n overlay.Network, h overlay.Hosts, own overlay.Peer, underlayMTU int) vxlan.Overlay {
	link := n.Device()
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
		o.Device.MTU = underlayMTU - n.Overhead(own.VTEP)
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
