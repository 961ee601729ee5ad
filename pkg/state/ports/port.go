// Package ports declares the published ports of containers: what comes to an address of the host at a port goes to a
// container. All are elements of maps in a table of fairway's own, inet fairway_ports, tagged with their owner, so that neither
// an ADD nor a packet costs more for each port that is published. It needs CAP_NET_ADMIN in the host's namespace.
package ports

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Port is a published port, or several in a row.
type Port struct {
	// Protocol is IPPROTO_TCP, IPPROTO_UDP or IPPROTO_SCTP.
	Protocol uint8
	// HostIP is the host's address. The zero value means all of them, 0.0.0.0 and :: all of one family.
	HostIP netip.Addr
	// HostPort of the host leads to ContainerPort.
	HostPort, ContainerPort uint16
	// More is how many ports follow in a row, each to the next one of the container.
	More uint16
	// Sources are the prefixes that may come in by the port. Empty: all.
	Sources []netip.Prefix
	// Holders are sockets of the host that hold the port for this very container, by their inodes: runtimes let a process of theirs
	// wait there.
	Holders []uint32
}

// String writes a port as Docker does: 127.0.0.1:8080->80/tcp.
func (p Port) String() string {
	host := ""
	switch {
	case p.HostIP.Is6():
		host = "[" + p.HostIP.String() + "]:"
	case p.HostIP.IsValid():
		host = p.HostIP.String() + ":"
	}
	return fmt.Sprintf("%s%s->%s/%s", host, run(p.HostPort, p.More), run(p.ContainerPort, p.More), ProtocolName(p.Protocol))
}

func run(port, more uint16) string {
	text := strconv.Itoa(int(port))
	if more > 0 {
		text += "-" + strconv.Itoa(int(port)+int(more))
	}
	return text
}

// The protocols that have ports, by their names.
var protocols = []struct {
	name   string
	number uint8
}{{"tcp", unix.IPPROTO_TCP}, {"udp", unix.IPPROTO_UDP}, {"sctp", unix.IPPROTO_SCTP}}

// ProtocolName is the name of a protocol.
func ProtocolName(number uint8) string {
	for _, p := range protocols {
		if p.number == number {
			return p.name
		}
	}
	return strconv.Itoa(int(number))
}

// ProtocolNumber is the number of a protocol; ok is false for one that has no ports.
func ProtocolNumber(name string) (number uint8, ok bool) {
	for _, p := range protocols {
		if p.name == name {
			return p.number, true
		}
	}
	return 0, false
}

// shortestRun is how many equal ports in a row are one element: fewer are as cheap, and in a hash map.
const shortestRun = 16

// Join joins ports that lead to equal ports of the container, where many are in a row. Runtimes give each by itself.
func Join(list []Port) []Port {
	var joined []Port
	for from := 0; from < len(list); {
		to := from + 1
		for to < len(list) && follows(list[to-1], list[to]) {
			to++
		}
		if first := list[from]; to-from >= shortestRun && first.HostPort == first.ContainerPort {
			first.More = uint16(to - from - 1)
			for _, other := range list[from+1 : to] {
				first.Holders = append(first.Holders, other.Holders...)
			}
			joined = append(joined, first)
		} else {
			joined = append(joined, list[from:to]...)
		}
		from = to
	}
	return joined
}

func follows(a, b Port) bool {
	return a.More == 0 && b.More == 0 && a.Protocol == b.Protocol && a.HostIP == b.HostIP &&
		int(b.HostPort) == int(a.HostPort)+1 && int(b.ContainerPort) == int(a.ContainerPort)+1 &&
		slices.Equal(a.Sources, b.Sources)
}

// isRun says whether a port is an interval element: several in a row that lead to equal ones.
func (p Port) isRun() bool { return p.More > 0 && p.HostPort == p.ContainerPort }

// Singles is ports with those of each row one by one.
func Singles(list []Port) []Port {
	var singles []Port
	for _, p := range list {
		singles = append(singles, p.Singles()...)
	}
	return singles
}

// Overlap says whether a row among ports has a port of another row, or one that is given by itself.
func Overlap(list []Port) bool {
	for i, row := range list {
		if row.More == 0 {
			continue
		}
		for j, other := range list {
			if i != j && row.HostIP == other.HostIP && row.Protocol == other.Protocol && (row.has(other.HostPort) || other.has(row.HostPort)) {
				return true
			}
		}
	}
	return false
}

// Singles is the ports of a row one by one.
func (p Port) Singles() []Port {
	list := make([]Port, 0, int(p.More)+1)
	for i := range int(p.More) + 1 {
		single := p
		single.HostPort, single.ContainerPort, single.More = p.HostPort+uint16(i), p.ContainerPort+uint16(i), 0
		list = append(list, single)
	}
	return list
}

// serves says whether a port of the host leads to an address of the container.
func (p Port) serves(addr netip.Addr) bool {
	return !p.HostIP.IsValid() || p.HostIP.Is4() == addr.Is4()
}

// anywhere says whether the port is one of all addresses.
func (p Port) anywhere() bool { return !p.HostIP.IsValid() || p.HostIP.IsUnspecified() }

// Anywhere is the port as one of both families, if it is at all addresses of one.
func (p Port) Anywhere() Port {
	if p.anywhere() {
		p.HostIP = netip.Addr{}
	}
	return p
}

// Key is what of the host a port takes.
type Key struct {
	protocol uint8
	hostIP   netip.Addr
	port     uint16
}

// Key is the key of a single port.
func (p Port) Key() Key { return Key{p.Protocol, p.HostIP, p.HostPort} }
