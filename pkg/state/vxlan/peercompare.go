package vxlan

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// table is the entries of one kind by what they are found by, each with the peer that it is for: none where a prefix is
// unreachable. In an ADD that finds everything in place, it is all the memory that is touched for a peer.
type table[K comparable] map[K]*Peer

// match sorts what the kernel has by what is wanted. It keeps the entries that are not as they have to be, which are few.
type match[K comparable, E any] struct {
	want table[K]
	key  func(E) K
	// right says whether an entry is as the peer's has to be.
	right func(E, *Peer) bool
	rest  []E
}

// see takes an entry that is right out of what is wanted.
func (m *match[K, E]) see(e E) {
	if peer, wanted := m.want[m.key(e)]; wanted && m.right(e, peer) {
		delete(m.want, m.key(e))
	} else {
		m.rest = append(m.rest, e)
	}
}

// others are the entries that were not right: those in the place of one that is wanted, and those that nobody needs.
func (m *match[K, E]) others() (wrong map[K]E, surplus []E) {
	wrong = make(map[K]E)
	for _, e := range m.rest {
		_, wanted := m.want[m.key(e)]
		if _, twice := wrong[m.key(e)]; wanted && !twice {
			wrong[m.key(e)] = e
		} else {
			surplus = append(surplus, e)
		}
	}
	return wrong, surplus
}

// compare lists what has to change: what peers need first, and what nobody needs last.
func (p PeerTable) compare(k *kernel.Kernel) ([]change, error) {
	link, err := p.index(k)
	if err != nil {
		return nil, err
	}
	kinds := []func(*kernel.Kernel, int) (differences, error){p.compareForwarding, p.compareNeighbours, p.compareRoutes}
	if p.Link == "" {
		kinds = kinds[2:]
	}
	var written, surplus []change
	for _, compare := range kinds {
		found, err := kernel.Retry(func() (differences, error) { return compare(k, link) })
		if err != nil {
			return nil, err
		}
		written, surplus = append(written, found.written...), append(surplus, found.surplus...)
	}
	if p.Partial {
		return written, nil
	}
	return append(written, surplus...), nil
}

// index is the device's, or that of no link.
func (p PeerTable) index(k *kernel.Kernel) (int, error) {
	if p.Link == "" {
		return -1, nil
	}
	device, err := k.Host.Link(p.Link)
	if err != nil {
		return 0, err
	}
	return device.Attrs().Index, nil
}

// differences are those of one kind of entries.
type differences struct{ written, surplus []change }

func (p PeerTable) compareForwarding(k *kernel.Kernel, link int) (d differences, err error) {
	m := match[kernel.MAC, kernel.NeighbourEntry]{
		want:  make(table[kernel.MAC], len(p.Peers)),
		key:   func(e kernel.NeighbourEntry) kernel.MAC { return e.MAC },
		right: func(e kernel.NeighbourEntry, peer *Peer) bool { return e.Addr == peer.VTEP },
	}
	for i, peer := range p.Peers {
		m.want[kernel.MAC(peer.MAC)] = &p.Peers[i]
	}
	err = k.EachForwarding(link, m.see)
	_, surplus := m.others()
	for mac, peer := range m.want {
		d.written = append(d.written, writtenNeighbour(kernel.NeighbourEntry{Link: link, Addr: peer.VTEP, MAC: mac, FDB: true}))
	}
	for _, e := range surplus {
		d.surplus = append(d.surplus, surplusNeighbour(e))
	}
	return d, err
}

func (p PeerTable) compareNeighbours(k *kernel.Kernel, link int) (d differences, err error) {
	m := match[netip.Addr, kernel.NeighbourEntry]{
		want:  make(table[netip.Addr], len(p.Peers)),
		key:   func(n kernel.NeighbourEntry) netip.Addr { return n.Addr },
		right: func(n kernel.NeighbourEntry, peer *Peer) bool { return n.MAC == kernel.MAC(peer.MAC) },
	}
	for i, peer := range p.Peers {
		for _, prefix := range peer.Prefixes {
			m.want[prefix.Masked().Addr()] = &p.Peers[i]
		}
	}
	err = k.EachNeighbour(link, m.see)
	_, surplus := m.others()
	for addr, peer := range m.want {
		d.written = append(d.written, writtenNeighbour(kernel.NeighbourEntry{Link: link, Addr: addr, MAC: kernel.MAC(peer.MAC)}))
	}
	for _, n := range surplus {
		d.surplus = append(d.surplus, surplusNeighbour(n))
	}
	return d, err
}

// compareRoutes looks at the routes through the device, and at the unreachable ones of the network.
func (p PeerTable) compareRoutes(k *kernel.Kernel, link int) (d differences, err error) {
	m := match[netip.Prefix, kernel.RouteEntry]{
		want: make(table[netip.Prefix], len(p.Peers)+len(p.Unreachable)),
		key:  func(r kernel.RouteEntry) netip.Prefix { return r.Dst },
		right: func(r kernel.RouteEntry, peer *Peer) bool {
			wanted := p.route(r.Dst, peer, link)
			return r.Type == wanted.Type && r.Via == wanted.Via
		},
	}
	for _, prefix := range p.Unreachable {
		m.want[prefix] = nil
	}
	for i, peer := range p.Peers {
		for _, prefix := range peer.Prefixes {
			m.want[prefix] = &p.Peers[i]
		}
	}
	err = k.EachRouteOf(state.RouteProtocol, link, func(r kernel.RouteEntry) {
		if r.Link == link || r.Type == unix.RTN_UNREACHABLE && r.Metric == p.VNI {
			m.see(r)
		}
	})
	wrong, surplus := m.others()
	for dst, peer := range m.want {
		other, isWrong := wrong[dst]
		d.written = append(d.written, writtenRoute(p.route(dst, peer, link), other, isWrong)...)
	}
	for _, r := range surplus {
		d.surplus = append(d.surplus, surplusRoute(r))
	}
	return d, err
}

// route is that of a prefix to a peer, or an unreachable one without.
func (p PeerTable) route(dst netip.Prefix, peer *Peer, link int) kernel.RouteEntry {
	if peer == nil {
		return kernel.RouteEntry{Dst: dst, Type: unix.RTN_UNREACHABLE, Protocol: state.RouteProtocol, Metric: p.VNI}
	}
	return kernel.RouteEntry{Dst: dst, Type: unix.RTN_UNICAST, Protocol: state.RouteProtocol, Via: dst.Masked().Addr(), Link: link}
}
