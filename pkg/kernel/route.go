package kernel

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// RouteAdd adds a route: its destination, link, next hop, scope, table, metric, MTU and MSS count. The error wraps unix.EEXIST
// when the table has one to the destination with the metric.
func (n *Namespace) RouteAdd(route *netlink.Route) error { return n.addRoute(route, unix.NLM_F_EXCL) }

// RoutePrepend adds a route before others to the destination with its metric (ip route prepend).
func (n *Namespace) RoutePrepend(route *netlink.Route) error { return n.addRoute(route, 0) }

func (n *Namespace) addRoute(route *netlink.Route, flags uint16) error {
	return n.Execute(Message{Kind: unix.RTM_NEWROUTE, Flags: unix.NLM_F_CREATE | flags, Body: encodeRoute(route)})
}

// encodeRoute writes what RouteAdd names.
func encodeRoute(route *netlink.Route) []byte {
	dst := addrOf(route.Dst.IP)
	bits, _ := route.Dst.Mask.Size()
	body := routeHeader(familyOf(dst), uint8(bits), unix.RTPROT_BOOT, unix.RTN_UNICAST)
	body[6] = uint8(route.Scope)
	body = appendAttribute(body, unix.RTA_DST, dst.AsSlice())
	if len(route.Gw) > 0 {
		body = appendAttribute(body, unix.RTA_GATEWAY, addrOf(route.Gw).AsSlice())
	}
	var metrics []byte
	for _, attribute := range []struct {
		kind  uint16
		value int
		to    *[]byte
	}{
		{unix.RTA_OIF, route.LinkIndex, &body}, {unix.RTA_PRIORITY, route.Priority, &body}, {unix.RTA_TABLE, route.Table, &body},
		{unix.RTAX_MTU, route.MTU, &metrics}, {unix.RTAX_ADVMSS, route.AdvMSS, &metrics},
	} {
		if attribute.value != 0 {
			*attribute.to = appendAttribute(*attribute.to, attribute.kind, uint32Value(uint32(attribute.value)))
		}
	}
	if route.Table != 0 {
		body[4] = unix.RT_TABLE_UNSPEC // the attribute counts
	}
	if len(metrics) > 0 {
		body = appendAttribute(body, unix.RTA_METRICS|unix.NLA_F_NESTED, metrics)
	}
	return body
}

// addrOf is an address of the netlink library, which has those of IPv4 in 4 bytes or 16.
func addrOf(ip net.IP) netip.Addr {
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}

// RoutesTo lists the routes to a destination in a table, with what RouteAdd names and their protocol. Without a table
// (RT_TABLE_UNSPEC), they are those of all tables. One with several next hops has none here. The error is ErrInterrupted when
// routes may be missing.
func (n *Namespace) RoutesTo(dst netip.Prefix, table int) (routes []netlink.Route, err error) {
	request := make([]byte, unix.SizeofRtMsg)
	request[0] = familyOf(dst.Addr())
	err = n.list(unix.RTM_GETROUTE, request, func(body []byte) error {
		if len(body) < unix.SizeofRtMsg || int(body[1]) != dst.Bits() || binary.NativeEndian.Uint32(body[8:])&unix.RTM_F_CLONED != 0 {
			return nil
		}
		route, to := decodeRouteTo(body)
		if dst.Bits() > 0 && to != dst.Addr() || table != unix.RT_TABLE_UNSPEC && route.Table != table {
			return nil
		}
		routes = append(routes, route)
		return nil
	})
	return routes, err
}

func decodeRouteTo(body []byte) (route netlink.Route, dst netip.Addr) {
	route = netlink.Route{Table: int(body[4]), Protocol: netlink.RouteProtocol(body[5]), Scope: netlink.Scope(body[6])}
	number := func(value []byte) int {
		if len(value) != 4 {
			return 0
		}
		return int(binary.NativeEndian.Uint32(value))
	}
	eachAttribute(body[unix.SizeofRtMsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.RTA_DST:
			dst, _ = netip.AddrFromSlice(value)
		case unix.RTA_GATEWAY:
			route.Gw = net.IP(slices.Clone(value))
		case unix.RTA_OIF:
			route.LinkIndex = number(value)
		case unix.RTA_PRIORITY:
			route.Priority = number(value)
		case unix.RTA_TABLE:
			route.Table = number(value)
		case unix.RTA_METRICS:
			route.MTU, route.AdvMSS = number(attribute(value, unix.RTAX_MTU)), number(attribute(value, unix.RTAX_ADVMSS))
		}
	})
	return route, dst
}
