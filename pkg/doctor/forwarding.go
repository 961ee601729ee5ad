package doctor

import (
	"context"
	"errors"
	"io/fs"
	"slices"
)

// checkForwarding compares the host's forwarding with the containers that need it. An ADD turns it on; something else, such
// as `sysctl --system`, may have turned it off again.
func checkForwarding(_ context.Context, h *Host) ([]Finding, error) {
	var findings []Finding
	for _, family := range []struct{ name, key, command string }{
		{"IPv4", "net/ipv4/ip_forward", "net.ipv4.ip_forward"},
		{"IPv6", "net/ipv6/conf/all/forwarding", "net.ipv6.conf.all.forwarding"},
	} {
		networks := h.forwarded(family.name == "IPv4")
		value, err := h.Kernel.Host.Sysctl(family.key)
		switch {
		case len(networks) == 0 || errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return findings, err
		case value == "0":
			findings = append(findings, errorf("the host does not forward %s, which containers of %s need", family.name, some(networks)).
				remedy("sysctl -w %s=1, and keep it in /etc/sysctl.d", family.command))
		}
	}
	return findings, nil
}

// forwarded are the networks whose containers have a gateway of a family on the host.
func (h *Host) forwarded(is4 bool) []string {
	var names []string
	for _, a := range h.Alive {
		for _, n := range h.described {
			if n.Name != a.Network || !forwards(n) || slices.Contains(names, n.Name) {
				continue
			}
			for _, gateway := range a.Gateways {
				if gateway.Is4() == is4 {
					names = append(names, n.Name)
					break
				}
			}
		}
	}
	return slices.Compact(names)
}
