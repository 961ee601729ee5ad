package kernel

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// RouteEntry is a route of the host's main table as rtnetlink(7) has it.
type RouteEntry struct {
	Dst netip.Prefix
	// Type is RTN_UNICAST, RTN_UNREACHABLE and the like.
	Type uint8
	// Protocol says who made the route.
	Protocol uint8
	// Via is the next hop, taken for one on the link whatever the routes say (onlink). The zero address: none.
	Via netip.Addr
	// Link is the index of the link, 0 for none.
	Link int
	// Metric is the priority; 0 leaves it to the kernel, which for IPv6 makes it 1024.
	Metric uint32
}

// Routes lists the routes of the main table, of both families. A protocol of 0 lists those of all.
func (k *Kernel) Routes(protocol uint8) ([]RouteEntry, error) {
	return Dump(func() (routes []RouteEntry, err error) {
		err = k.EachRoute(protocol, func(r RouteEntry) { routes = append(routes, r) })
		return routes, err
	})
}

// EachRoute calls each with what Routes lists. The error wraps ErrInterrupted when routes may be missing.
func (k *Kernel) EachRoute(protocol uint8, each func(RouteEntry)) error {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		err := k.List(unix.RTM_GETROUTE, routeHeader(family, 0, protocol, 0), func(body []byte) error {
			if r, ok := decodeRoute(body); ok && (protocol == 0 || r.Protocol == protocol) {
				each(r)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("ip route show: %w", err)
		}
	}
	return nil
}

// EachHop calls each with every next hop of every route of the main table, of both families. The error wraps ErrInterrupted when some may be
// missing.
func (n *Namespace) EachHop(each func(RouteEntry)) error {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		err := n.list(unix.RTM_GETROUTE, routeHeader(family, 0, 0, 0), func(body []byte) error {
			if r, ok := decodeRoute(body); ok {
				eachHop(r, attribute(body[unix.SizeofRtMsg:], unix.RTA_MULTIPATH), each)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("ip route show: %w", err)
		}
	}
	return nil
}

// eachHop calls each with the route by each of several next hops (struct rtnexthop), or with the route as it is where it has none.
func eachHop(r RouteEntry, hops []byte, each func(RouteEntry)) {
	if len(hops) == 0 {
		each(r)
	}
	for len(hops) >= unix.SizeofRtNexthop {
		size := int(binary.NativeEndian.Uint16(hops))
		if size < unix.SizeofRtNexthop || size > len(hops) {
			return
		}
		r.Link = int(binary.NativeEndian.Uint32(hops[4:]))
		r.Via, _ = netip.AddrFromSlice(attribute(hops[unix.SizeofRtNexthop:size], unix.RTA_GATEWAY)) // zero: on the link
		each(r)
		hops = hops[min(align(size), len(hops)):]
	}
}

// Add is the request that adds the route. Flags say what becomes of one that is there: NLM_F_EXCL or NLM_F_REPLACE.
func (r RouteEntry) Add(flags uint16) Message {
	return Message{Kind: unix.RTM_NEWROUTE, Flags: unix.NLM_F_CREATE | flags, Body: r.encode()}
}

// Delete is the request that deletes the route.
func (r RouteEntry) Delete() Message { return Message{Kind: unix.RTM_DELROUTE, Body: r.encode()} }

// routeHeader is a struct rtmsg.
func routeHeader(family, bits, protocol, kind uint8) []byte {
	return []byte{family, bits, 0, 0, unix.RT_TABLE_MAIN, protocol, unix.RT_SCOPE_UNIVERSE, kind, 0, 0, 0, 0}
}

func (r RouteEntry) encode() []byte {
	body := routeHeader(familyOf(r.Dst.Addr()), uint8(r.Dst.Bits()), r.Protocol, r.Type)
	switch {
	case r.Via.IsValid():
		binary.NativeEndian.PutUint32(body[8:], unix.RTNH_F_ONLINK)
	case r.Link != 0:
		body[6] = unix.RT_SCOPE_LINK
	}
	body = appendAttribute(body, unix.RTA_DST, r.Dst.Addr().AsSlice())
	if r.Via.IsValid() {
		body = appendAttribute(body, unix.RTA_GATEWAY, r.Via.AsSlice())
	}
	if r.Link != 0 {
		body = appendAttribute(body, unix.RTA_OIF, uint32Value(uint32(r.Link)))
	}
	if r.Metric != 0 {
		body = appendAttribute(body, unix.RTA_PRIORITY, uint32Value(r.Metric))
	}
	return body
}

// decodeRoute reads a route of the main table; ok is false for another.
func decodeRoute(body []byte) (r RouteEntry, ok bool) {
	if len(body) < unix.SizeofRtMsg || body[4] != unix.RT_TABLE_MAIN {
		return RouteEntry{}, false
	}
	r.Protocol, r.Type = body[5], body[7]
	dst := netip.IPv4Unspecified()
	if body[0] == unix.AF_INET6 {
		dst = netip.IPv6Unspecified()
	}
	eachAttribute(body[unix.SizeofRtMsg:], func(kind uint16, value []byte) {
		switch {
		case kind == unix.RTA_DST:
			dst, _ = netip.AddrFromSlice(value)
		case kind == unix.RTA_GATEWAY:
			r.Via, _ = netip.AddrFromSlice(value)
		case kind == unix.RTA_OIF && len(value) == 4:
			r.Link = int(binary.NativeEndian.Uint32(value))
		case kind == unix.RTA_PRIORITY && len(value) == 4:
			r.Metric = binary.NativeEndian.Uint32(value)
		}
	})
	r.Dst = netip.PrefixFrom(dst, int(body[1]))
	return r, r.Dst.IsValid()
}

// MAC is the address of an Ethernet link, as a value that can be compared.
type MAC [6]byte

func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// NeighbourEntry is a permanent neighbour of a link of the host, or an entry of a VXLAN device's forwarding database.
type NeighbourEntry struct {
	Link int
	// Addr is the neighbour's; in a forwarding database, the VTEP that frames for MAC are sent to.
	Addr netip.Addr
	MAC  MAC
	// FDB makes it an entry of the forwarding database.
	FDB bool
}

// EachNeighbour calls each with the permanent neighbours of a link, of both families. The error wraps ErrInterrupted when
// some may be missing.
func (k *Kernel) EachNeighbour(link int, each func(NeighbourEntry)) error {
	request := appendAttribute(neighbourHeader(unix.AF_UNSPEC, 0, 0, 0), unix.NDA_IFINDEX, uint32Value(uint32(link)))
	return k.eachNeighbour(link, request, false, each)
}

// EachForwarding calls each with the forwarding database of a VXLAN device, learned entries included. The error wraps
// ErrInterrupted when some may be missing.
func (k *Kernel) EachForwarding(link int, each func(NeighbourEntry)) error {
	return k.eachNeighbour(link, neighbourHeader(unix.AF_BRIDGE, link, 0, 0), true, each)
}

func (k *Kernel) eachNeighbour(link int, request []byte, fdb bool, each func(NeighbourEntry)) error {
	if k.remembered != nil {
		return k.eachRemembered(link, fdb, each)
	}
	return k.listNeighbours(request, fdb, func(e NeighbourEntry) {
		if e.Link == link {
			each(e)
		}
	})
}

func (k *Kernel) listNeighbours(request []byte, fdb bool, each func(NeighbourEntry)) error {
	err := k.List(unix.RTM_GETNEIGH, request, func(body []byte) error {
		if e, ok := decodeNeighbour(body, fdb); ok {
			each(e)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("ip neigh show: %w", err)
	}
	return nil
}

// Replace is the request that makes the entry, whatever entry is there for the neighbour, or for the MAC.
func (e NeighbourEntry) Replace() Message {
	return Message{Kind: unix.RTM_NEWNEIGH, Flags: unix.NLM_F_CREATE | unix.NLM_F_REPLACE, Body: e.encode()}
}

// Delete is the request that deletes the entry.
func (e NeighbourEntry) Delete() Message { return Message{Kind: unix.RTM_DELNEIGH, Body: e.encode()} }

// neighbourHeader is a struct ndmsg.
func neighbourHeader(family uint8, link int, state uint16, flags uint8) []byte {
	body := []byte{family, 0, 0, 0}
	body = binary.NativeEndian.AppendUint32(body, uint32(link))
	body = binary.NativeEndian.AppendUint16(body, state)
	return append(body, flags, 0)
}

func (e NeighbourEntry) encode() []byte {
	family, flags := familyOf(e.Addr), uint8(0)
	if e.FDB {
		family, flags = unix.AF_BRIDGE, unix.NTF_SELF
	}
	body := neighbourHeader(family, e.Link, unix.NUD_PERMANENT, flags)
	if e.Addr.IsValid() {
		body = appendAttribute(body, unix.NDA_DST, e.Addr.AsSlice())
	}
	return appendAttribute(body, unix.NDA_LLADDR, e.MAC[:])
}

// decodeNeighbour reads an entry; ok is false for a neighbour that is not permanent.
func decodeNeighbour(body []byte, fdb bool) (e NeighbourEntry, ok bool) {
	if len(body) < unix.SizeofNdMsg || fdb != (body[0] == unix.AF_BRIDGE) {
		return NeighbourEntry{}, false
	}
	e = NeighbourEntry{Link: int(binary.NativeEndian.Uint32(body[4:])), FDB: fdb}
	state := binary.NativeEndian.Uint16(body[8:])
	eachAttribute(body[unix.SizeofNdMsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.NDA_DST:
			e.Addr, _ = netip.AddrFromSlice(value)
		case unix.NDA_LLADDR:
			copy(e.MAC[:], value)
		}
	})
	return e, fdb || state&unix.NUD_PERMANENT != 0
}

func familyOf(addr netip.Addr) uint8 {
	if addr.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
