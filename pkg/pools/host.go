package pools

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Host is what a new network has to reckon with on this host.
type Host struct {
	// Links are the types of all links, by name.
	Links map[string]string
	// Taken are the prefixes of addresses and routes, and the nameservers. Default routes, loopback, link-local and multicast
	// prefixes are not among them.
	Taken []Taken
	// Identity is the machine's ID (machine-id(5)), or its name where it has none.
	Identity string
}

// resolvFiles are the host's own and that of systemd-resolved, which names the servers behind its stub.
var resolvFiles = []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}

// ReadHost looks at the network namespace of the process, and at the host's files.
func ReadHost() (Host, error) {
	h := Host{Links: map[string]string{}}
	links, err := h.readLinks()
	if err != nil {
		return Host{}, err
	}
	if err := h.readRoutes(links); err != nil {
		return Host{}, err
	}
	for _, file := range resolvFiles {
		h.readNameservers(file)
	}
	h.Identity, err = identity()
	return h, err
}

// readLinks notes links and their addresses, and gives them by index.
func (h *Host) readLinks() (map[int]*netlink.LinkAttrs, error) {
	links, err := kernel.Dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("ip link show: %w", err)
	}
	byIndex := make(map[int]*netlink.LinkAttrs, len(links))
	for _, link := range links {
		byIndex[link.Attrs().Index] = link.Attrs()
		h.Links[link.Attrs().Name] = link.Type()
	}
	addrs, err := kernel.Dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("ip address show: %w", err)
	}
	for _, addr := range addrs {
		prefix := toPrefix(addr.IPNet)
		of, name := "", ""
		if link := byIndex[addr.LinkIndex]; link != nil { // else it is a new one
			of, name = " of "+link.Name, link.Name
		}
		h.take(Taken{Prefix: prefix.Masked(), By: fmt.Sprintf("the address %s%s", prefix, of), Link: name})
	}
	return byIndex, nil
}

// readRoutes reads every table: that of a tunnel is often one of its own.
func (h *Host) readRoutes(links map[int]*netlink.LinkAttrs) error {
	all := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	routes, err := kernel.Dump(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_ALL, all, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return fmt.Errorf("ip route show: %w", err)
	}
	for _, route := range routes {
		if route.Table == unix.RT_TABLE_LOCAL {
			continue // the addresses say it
		}
		by := fmt.Sprintf("the route %s", route.Dst)
		entry := kernel.RouteEntry{Dst: toPrefix(route.Dst), Type: uint8(route.Type), Protocol: uint8(route.Protocol)}
		if route.Gw != nil {
			by += " via " + route.Gw.String()
			entry.Via, _ = netip.AddrFromSlice(route.Gw)
		}
		if len(route.MultiPath) > 0 { // ways by several next hops
			entry.Via, _ = netip.AddrFromSlice(route.MultiPath[0].Gw)
		}
		link, name := links[route.LinkIndex], ""
		if link != nil {
			name = link.Name
			by += " dev " + name
		}
		h.take(Taken{Prefix: entry.Dst, By: by, Link: name, Onward: entry.Onward(link != nil && link.Flags&net.FlagPointToPoint != 0)})
	}
	return nil
}

// readNameservers takes nothing from a file that cannot be read: the host does not use it either.
func (h *Host) readNameservers(path string) {
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(fields[1]); err == nil {
			addr = addr.Unmap().WithZone("")
			h.take(Taken{Prefix: netip.PrefixFrom(addr, addr.BitLen()), By: "the nameserver " + addr.String()})
		}
	}
}

// take leaves out what no subnet of a network can overlap, and what all do.
func (h *Host) take(t Taken) {
	addr := t.Prefix.Addr()
	if !t.Prefix.IsValid() || t.Prefix.Bits() == 0 || addr.IsLoopback() || addr.IsLinkLocalUnicast() || addr.IsMulticast() {
		return
	}
	h.Taken = append(h.Taken, t)
}

// toPrefix gives the zero prefix for nil, which is how netlink writes a default route.
func toPrefix(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	addr, _ := netip.AddrFromSlice(n.IP) // of the kernel
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), bits)
}

func identity() (string, error) {
	if id, err := os.ReadFile("/etc/machine-id"); err == nil && len(strings.TrimSpace(string(id))) > 0 {
		return strings.TrimSpace(string(id)), nil
	}
	return os.Hostname()
}
