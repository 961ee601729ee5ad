package attach

import (
	"net/netip"
	"strings"

	"github.com/fairway-cni/fairway/pkg/state/ports"
)

// PortMapping is a port that a runtime wants published (CNI conventions, capability portMappings).
type PortMapping struct {
	HostPort      int    `json:"hostPort"`
	ContainerPort int    `json:"containerPort"`
	Protocol      string `json:"protocol"` // tcp, udp or sctp, in any case; empty: tcp
	HostIP        string `json:"hostIP"`   // empty: every address
	// More is ours: how many equal ports follow in a row. netconf.JoinRows writes it.
	More int `json:"more"`
	// PublishFrom is ours: who may come in by this port. Nil: whoever may by the others.
	PublishFrom []string `json:"publishFrom"`
	// HeldBy is ours: sockets that the runtime has opened at the port for this container, by their inodes. They are no conflict.
	HeldBy []uint32 `json:"heldBy"`
}

// PublishedPorts reads the ports of a runtime. Those without a host's address get hostIP, those without sources get from.
func PublishedPorts(mappings []PortMapping, hostIP netip.Addr, from []netip.Prefix) ([]ports.Port, error) {
	list := make([]ports.Port, 0, len(mappings))
	rows := false
	for _, m := range mappings {
		port, err := m.read(hostIP, from)
		if err != nil {
			return nil, err
		}
		list, rows = append(list, port), rows || port.More > 0
	}
	if rows && ports.Overlap(list) {
		list = ports.Singles(list)
	}
	list, err := once(list)
	return ports.Join(list), err
}

// once is the ports without those that are asked for again. One that is to lead to two ports is an error. Rows overlap with nothing.
func once(list []ports.Port) ([]ports.Port, error) {
	seen := make(map[ports.Key]uint16, len(list))
	single := list[:0]
	for _, port := range list {
		to, twice := seen[port.Key()]
		switch {
		case !twice:
			seen[port.Key()] = port.ContainerPort
			single = append(single, port)
		case to != port.ContainerPort:
			return nil, Invalidf("runtimeConfig.portMappings has port %d/%s of the host for ports %d and %d of the container: publish each by a port of its own",
				port.HostPort, ports.ProtocolName(port.Protocol), to, port.ContainerPort)
		}
	}
	return single, nil
}

func (m PortMapping) read(hostIP netip.Addr, from []netip.Prefix) (p ports.Port, err error) {
	protocol := strings.ToLower(m.Protocol)
	if protocol == "" {
		protocol = "tcp"
	}
	p.Sources, p.HostIP, p.Holders = from, hostIP, m.HeldBy
	var known bool
	if p.Protocol, known = ports.ProtocolNumber(protocol); !known {
		return p, Invalidf("runtimeConfig.portMappings has protocol %q: give tcp, udp or sctp", m.Protocol)
	}
	for _, port := range []struct {
		name  string
		value int
		into  *uint16
	}{{"hostPort", m.HostPort, &p.HostPort}, {"containerPort", m.ContainerPort, &p.ContainerPort}} {
		if port.value < 1 || port.value > 65535 {
			return p, Invalidf("runtimeConfig.portMappings has %s %d: give 1 to 65535", port.name, port.value)
		}
		*port.into = uint16(port.value)
	}
	if m.More < 0 || m.More > 65535-max(m.HostPort, m.ContainerPort) {
		return p, Invalidf("runtimeConfig.portMappings has more %d behind port %d: give as many as there are up to 65535", m.More, m.HostPort)
	}
	p.More = uint16(m.More)
	if m.HostIP != "" {
		if p.HostIP, err = HostIP("runtimeConfig.portMappings has hostIP", m.HostIP); err != nil {
			return p, err
		}
	}
	if m.PublishFrom != nil {
		p.Sources, err = Prefixes("runtimeConfig.portMappings has publishFrom", m.PublishFrom)
	}
	return p, err
}

// HostIP reads an address of the host at which ports are published. The error begins with what is said.
func HostIP(what, text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	addr = addr.Unmap()
	switch {
	case err != nil || addr.Zone() != "" || addr.IsMulticast():
		return netip.Addr{}, Invalidf("%s %q: give an address of the host, or leave it out for all", what, text)
	case addr.Is6() && addr.IsLoopback():
		return netip.Addr{}, Invalidf("%s %q: nothing that goes to the loopback of IPv6 can be sent to a container, "+
			"publish at 127.0.0.1, or at another address of the host", what, text)
	}
	return addr, nil
}

// Prefixes reads a list of prefixes, or of addresses. The error begins with what is said.
func Prefixes(what string, texts []string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if addr, bad := netip.ParseAddr(text); err != nil && bad == nil && addr.Zone() == "" {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil || prefix.Addr().Is4In6() {
			return nil, Invalidf("%s %q: give prefixes such as 192.0.2.0/24", what, text)
		}
		list = append(list, prefix.Masked())
	}
	return list, nil
}
