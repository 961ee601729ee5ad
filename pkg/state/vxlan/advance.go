package vxlan

import (
	"bytes"
	"net/netip"
	"slices"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Complete says whether the device is there as declared, and all that is made before it, as far as a look tells that costs next
// to nothing.
func (o Overlay) Complete(k *kernel.Kernel) (bool, error) {
	_, complete, err := o.look(k)
	if !complete || err != nil {
		return false, err
	}
	return o.filtersStand(k)
}

// Advance changes what differs from what is in place, without listing anything: what a change of one peer costs does not grow
// with their number. What is in place has to be of the same network on the same device, else Ensure is for it; ok is false then.
func (o Overlay) Advance(k *kernel.Kernel, before Overlay) (ok bool, err error) {
	sameDevice := o.Device.Name == before.Device.Name && o.Device.Local == before.Device.Local && o.Device.MTU == before.Device.MTU &&
		bytes.Equal(o.Device.MAC, before.Device.MAC) && slices.Equal(o.Device.Addresses, before.Device.Addresses)
	if !sameDevice || (o.Encrypted == nil) != (before.Encrypted == nil) || o.Isolation != before.Isolation || !slices.Equal(o.Subnets, before.Subnets) {
		return false, nil
	}
	if err := o.Filter.Advance(k, before.Filter); err != nil {
		return true, err
	}
	if ok, err := o.Peers.Advance(k, before.Peers); !ok || err != nil || o.Encrypted == nil {
		return ok, err
	}
	return o.Encrypted.Tunnel.Advance(k, before.Encrypted.Tunnel)
}

// entries are those of some peers, by what the kernel tells them apart by.
type entries struct {
	forwarding map[kernel.MAC]netip.Addr
	neighbours map[netip.Addr]kernel.MAC
	routes     map[netip.Prefix]*Peer // nil: unreachable
}

func newEntries() entries {
	return entries{make(map[kernel.MAC]netip.Addr), make(map[netip.Addr]kernel.MAC), make(map[netip.Prefix]*Peer)}
}

func (e entries) add(peer *Peer) {
	e.forwarding[kernel.MAC(peer.MAC)] = peer.VTEP
	for _, prefix := range peer.Prefixes {
		e.neighbours[prefix.Masked().Addr()] = kernel.MAC(peer.MAC)
		e.routes[prefix] = peer
	}
}

// Advance writes the difference to a table that is in place. It is not ok where somebody else writes there.
func (p PeerTable) Advance(k *kernel.Kernel, before PeerTable) (ok bool, err error) {
	old, now := differing(before, p)
	if len(old.forwarding)+len(old.routes)+len(now.forwarding)+len(now.routes) == 0 {
		return true, nil
	}
	link, err := p.index(k)
	if err != nil {
		return true, err
	}
	again, err := p.write(k, p.changes(link, old, now))
	return !again, err
}

// differing are the entries of peers that are not the same in two tables.
func differing(before, after PeerTable) (old, now entries) {
	old, now = newEntries(), newEntries()
	known := make(map[netip.Addr]*Peer, len(before.Peers))
	for i := range before.Peers {
		known[before.Peers[i].VTEP] = &before.Peers[i]
	}
	for i := range after.Peers {
		peer := &after.Peers[i]
		was, there := known[peer.VTEP]
		delete(known, peer.VTEP)
		if there && bytes.Equal(was.MAC, peer.MAC) && slices.Equal(was.Prefixes, peer.Prefixes) {
			continue
		}
		if there {
			old.add(was)
		}
		now.add(peer)
	}
	for _, was := range known {
		old.add(was)
	}
	for _, prefix := range before.Unreachable {
		if !slices.Contains(after.Unreachable, prefix) {
			old.routes[prefix] = nil
		}
	}
	for _, prefix := range after.Unreachable {
		if !slices.Contains(before.Unreachable, prefix) {
			now.routes[prefix] = nil
		}
	}
	return old, now
}

// changes lead from the old entries to those of now, in the order in which one needs the other: a route its neighbour.
func (p PeerTable) changes(link int, old, now entries) []change {
	var written, surplus []change
	for mac, vtep := range now.forwarding {
		if was, there := old.forwarding[mac]; !there || was != vtep {
			written = append(written, writtenNeighbour(kernel.NeighbourEntry{Link: link, Addr: vtep, MAC: mac, FDB: true}))
		}
	}
	for addr, mac := range now.neighbours {
		if was, there := old.neighbours[addr]; !there || was != mac {
			written = append(written, writtenNeighbour(kernel.NeighbourEntry{Link: link, Addr: addr, MAC: mac}))
		}
	}
	for dst, peer := range now.routes {
		was, there := old.routes[dst]
		if there && (was == nil) == (peer == nil) {
			continue
		}
		written = append(written, writtenRoute(p.route(dst, peer, link), p.route(dst, was, link), there)...)
	}
	for dst, peer := range old.routes {
		if _, stays := now.routes[dst]; !stays {
			surplus = append(surplus, surplusRoute(p.route(dst, peer, link)))
		}
	}
	for addr, mac := range old.neighbours {
		if _, stays := now.neighbours[addr]; !stays {
			surplus = append(surplus, surplusNeighbour(kernel.NeighbourEntry{Link: link, Addr: addr, MAC: mac}))
		}
	}
	for mac, vtep := range old.forwarding {
		if _, stays := now.forwarding[mac]; !stays {
			surplus = append(surplus, surplusNeighbour(kernel.NeighbourEntry{Link: link, Addr: vtep, MAC: mac, FDB: true}))
		}
	}
	return append(written, surplus...)
}

// Gone is an entry that the kernel says was deleted.
type Gone struct {
	// Neighbour or forwarding entry of a device.
	Addr netip.Addr
	MAC  kernel.MAC
	FDB  bool
	// Route to a destination; the zero value for the others.
	Dst netip.Prefix
}

// Has says whether a table has an entry that is gone, which is to be put back then.
func (p PeerTable) Has(g Gone) bool {
	if g.Dst.IsValid() && slices.Contains(p.Unreachable, g.Dst) {
		return true
	}
	return slices.ContainsFunc(p.Peers, func(peer Peer) bool {
		switch {
		case g.Dst.IsValid():
			return slices.Contains(peer.Prefixes, g.Dst)
		case g.FDB:
			return kernel.MAC(peer.MAC) == g.MAC
		}
		return slices.ContainsFunc(peer.Prefixes, func(prefix netip.Prefix) bool { return prefix.Masked().Addr() == g.Addr })
	})
}
