package doctor

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
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
				command("sysctl -w %s=1", family.command).remedy("keep it in /etc/sysctl.d"))
		}
	}
	deaf, err := deafToRouters(h.Kernel)
	return append(findings, deaf...), err
}

// deafToRouters finds links that had an address by router advertisements, and take none any more because the host forwards IPv6: it has
// no default route by them.
func deafToRouters(k *kernel.Kernel) ([]Finding, error) {
	if value, err := k.Host.Sysctl("net/ipv6/conf/all/forwarding"); err != nil || value == "0" {
		return nil, nil // without IPv6 there is no such file
	}
	routes, err := kernel.Dump(func() ([]netlink.Route, error) {
		return k.Host.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{}, netlink.RT_FILTER_DST)
	})
	if err != nil || len(routes) > 0 {
		return nil, err
	}
	addresses, err := kernel.Dump(func() ([]netlink.Addr, error) { return k.Host.AddrList(nil, netlink.FAMILY_V6) })
	if err != nil {
		return nil, err
	}
	var findings []Finding
	for _, a := range addresses {
		link, err := k.Host.LinkAt(a.LinkIndex)
		if err != nil || a.Scope != unix.RT_SCOPE_UNIVERSE || a.Flags&unix.IFA_F_PERMANENT != 0 {
			continue // not one that somebody else has to prolong
		}
		name := link.Attrs().Name
		if value, err := k.Host.Sysctl("net/ipv6/conf/" + name + "/accept_ra"); err == nil && value == "1" {
			findings = append(findings, warningf("%s takes no router advertisements since the host forwards IPv6: it has no default route by them", name).
				command("sysctl -w net/ipv6/conf/%s/accept_ra=2", shell(name)).remedy("keep it in /etc/sysctl.d"))
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
