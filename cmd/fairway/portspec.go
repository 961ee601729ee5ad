package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state/ports"
)

// parsePort reads a port as `docker run -p` has it: [IP:]HOST:CONTAINER[/PROTOCOL], where both may be ranges of one length.
func parsePort(text string) (ports.Port, error) {
	p, host, err := splitPort(text)
	if err != nil {
		return p, err
	}
	if host == "" {
		return p, fmt.Errorf("port %s: give [IP:]HOST:CONTAINER[/PROTOCOL], such as 8080:80", text)
	}
	first, more, err := parseRange(host)
	if err != nil {
		return p, fmt.Errorf("port %s: %w", text, err)
	}
	err = publishAt(&p, text, first, more)
	return p, err
}

// publishAt makes a row of the host's ports lead to that of the container, one by one.
func publishAt(p *ports.Port, text string, first, more uint16) error {
	if more != p.More {
		return fmt.Errorf("port %s: the host's range has %d ports and the container's %d: give as many", text, more+1, p.More+1)
	}
	p.HostPort = first
	return nil
}

// splitPort reads all of a port but the host's, which is empty where it is left to be chosen.
func splitPort(text string) (p ports.Port, host string, err error) {
	rest, protocol, named := strings.Cut(text, "/")
	if !named {
		protocol = "tcp"
	}
	var known bool
	if p.Protocol, known = ports.ProtocolNumber(strings.ToLower(protocol)); !known {
		return p, "", fmt.Errorf("port %s: protocol %q: give tcp, udp or sctp", text, protocol)
	}
	container := rest
	if at := strings.LastIndexByte(rest, ':'); at >= 0 {
		host, container = rest[:at], rest[at+1:]
	}
	if at := strings.LastIndexByte(host, ':'); at >= 0 {
		ip := strings.TrimSuffix(strings.TrimPrefix(host[:at], "["), "]")
		if p.HostIP, err = attach.HostIP("port "+text+": address", ip); err != nil {
			return p, "", err
		}
		host = host[at+1:]
	}
	if p.ContainerPort, p.More, err = parseRange(container); err != nil {
		return p, "", fmt.Errorf("port %s: %w", text, err)
	}
	return p, host, nil
}

// parseRange reads a port, or the first and the last one.
func parseRange(text string) (first, more uint16, err error) {
	from, to, several := strings.Cut(text, "-")
	if !several {
		to = from
	}
	low, errLow := strconv.ParseUint(from, 10, 16)
	high, errHigh := strconv.ParseUint(to, 10, 16)
	if errLow != nil || errHigh != nil || low == 0 || high < low {
		return 0, 0, fmt.Errorf("%q is none: give 1 to 65535, or two with '-' between them, the lower first", text)
	}
	return uint16(low), uint16(high - low), nil
}

// parsePorts reads several.
func parsePorts(texts []string) ([]ports.Port, error) {
	var list []ports.Port
	for _, text := range texts {
		p, err := parsePort(text)
		if err != nil {
			return nil, usageError{err}
		}
		list = append(list, p)
	}
	return list, nil
}

// firstOfEach is the first address of each family.
func firstOfEach(prefixes []netip.Prefix) (addrs []netip.Addr) {
	for _, is6 := range []bool{false, true} {
		for _, p := range prefixes {
			if p.Addr().Is6() == is6 {
				addrs = append(addrs, p.Addr())
				break
			}
		}
	}
	return addrs
}
