package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/driver"
	"github.com/fairway-cni/fairway/pkg/packetfilter"
	"github.com/fairway-cni/fairway/pkg/topology"
)

// checkFirewall follows packets of each container, and of a container that a network may get, through the chains of others.
func checkFirewall(ctx context.Context, h *Host) ([]Finding, error) {
	filter, findings, err := h.filters(ctx)
	if err != nil {
		return findings, err
	}
	for _, n := range h.described {
		for _, addr := range h.addressesOn(n) {
			findings = addOnce(findings, h.filtered(filter, n, addr)...)
		}
	}
	return findings, nil
}

// addOnce adds what is not said yet.
func addOnce(findings []Finding, more ...Finding) []Finding {
	for _, f := range more {
		if !slices.Contains(findings, f) {
			findings = append(findings, f)
		}
	}
	return findings
}

// addressesOn are those of the containers on a network, or one that its first container may get.
func (h *Host) addressesOn(n topology.Network) []netip.Addr {
	var addrs []netip.Addr
	for _, a := range h.Alive {
		if a.Network != n.Name {
			continue
		}
		for _, p := range a.Addresses {
			addrs = append(addrs, p.Addr())
		}
	}
	if len(addrs) > 0 {
		return addrs
	}
	for _, s := range n.Subnets {
		addrs = append(addrs, s.Masked().Addr().Next().Next())
	}
	return addrs
}

// passage is a packet that has to pass, with who would miss it.
type passage struct {
	what   string
	packet packetfilter.Packet
	hooks  []packetfilter.Hook
	// narrow: a drop counts only where a rule names the network. What falls to a policy is meant so on many hosts.
	narrow bool
}

// filtered follows what a container with an address sends and gets, and says what drops it.
func (h *Host) filtered(filter *packetfilter.Filter, n topology.Network, addr netip.Addr) []Finding {
	if !onHost(n) {
		return nil
	}
	var findings []Finding
	for _, p := range h.passages(n, addr) {
		o := filter.Way(p.packet, p.hooks...)
		var f Finding
		switch {
		case o.Fate == packetfilter.Passes || p.narrow && !o.Narrow:
			continue
		case o.Fate == packetfilter.Undecided:
			f = undecidedf("%s may be dropped by %s: it depends on %s", p.what, o.At, o.Doubt).remedy("try it, or look at that rule")
		case p.narrow || !h.used(n.Name):
			f = warningf("%s is dropped by %s", p.what, o.At).command("%s", o.Remedy(shell(n.Link), subnetOf(n, addr)))
		default:
			f = errorf("%s is dropped by %s", p.what, o.At).command("%s", o.Remedy(shell(n.Link), subnetOf(n, addr)))
		}
		if !slices.ContainsFunc(findings, func(other Finding) bool { return other.Command == f.Command && f.Command != "" }) {
			findings = append(findings, f) // the same command mends both ways
		}
	}
	return findings
}

// subnetOf is the network's subnet that an address is of, or the address alone.
func subnetOf(n topology.Network, addr netip.Addr) netip.Prefix {
	for _, s := range n.Subnets {
		if s.Contains(addr) {
			return s
		}
	}
	return netip.PrefixFrom(addr, addr.BitLen())
}

// Ports of a connection: one of a client's, and that of HTTPS.
const clientPort, serverPort = 40000, 443

// passages are what containers of a network send and get.
func (h *Host) passages(n topology.Network, addr netip.Addr) []passage {
	bridge := h.linkNamed(n.Link, "bridge")
	packet := packetfilter.Packet{In: bridge, Source: addr, SourcePort: clientPort, DestinationPort: serverPort}
	var all []passage
	if out, ok := h.wayOut(addr); ok && forwards(n) && out.Name != n.Link {
		there := packet
		there.Out, there.Destination = out, packetfilter.Outside(addr)
		through := []packetfilter.Hook{packetfilter.Prerouting, packetfilter.Forward, packetfilter.Postrouting}
		all = append(all,
			passage{what: fmt.Sprintf("what containers of network %s send to the outside by %s", n.Name, out.Name), packet: there, hooks: through},
			passage{what: fmt.Sprintf("what comes back to containers of network %s by %s", n.Name, out.Name), packet: there.Reply(), hooks: through})
	}
	if !driver.Of(n.Type).OnBridge {
		return all
	}
	host := packet
	host.Destination, host.ToHost = h.addressOf(n.Link, addr), true
	if host.Destination.IsValid() {
		all = append(all, passage{what: fmt.Sprintf("what containers of network %s ask of the host", n.Name), packet: host,
			hooks: []packetfilter.Hook{packetfilter.Prerouting, packetfilter.Input}, narrow: true})
	}
	frame := packet
	frame.Bridge, frame.In, frame.Destination = n.Link, h.portOf(n.Link), addr.Next()
	other := frame
	other.Out = frame.In
	back := other.Reply()
	return append(all,
		passage{what: fmt.Sprintf("what bridge %s gets of containers of network %s", n.Link, n.Name), packet: frame,
			hooks: []packetfilter.Hook{packetfilter.Prerouting, packetfilter.Input}},
		passage{what: fmt.Sprintf("what containers of network %s send to each other", n.Name), packet: other,
			hooks: []packetfilter.Hook{packetfilter.Prerouting, packetfilter.Forward, packetfilter.Postrouting}},
		passage{what: fmt.Sprintf("what bridge %s sends to containers of network %s", n.Link, n.Name), packet: back,
			hooks: []packetfilter.Hook{packetfilter.Output, packetfilter.Postrouting}})
}

// linkNamed is what rules know of a link. One that is not there yet has its name and its kind.
func (h *Host) linkNamed(name, kind string) packetfilter.Link {
	link, ok := h.Snapshot.Link(name)
	if !ok {
		return packetfilter.Link{Name: name, Kind: kind}
	}
	return packetfilter.Link{Name: name, Index: link.Index, Group: uint32(link.Group), Kind: link.Kind}
}

// portOf is a port of a bridge, by which a container is there. Without one, its name is unlike any.
func (h *Host) portOf(bridge string) packetfilter.Link {
	master, ok := h.Snapshot.Link(bridge)
	for _, link := range h.Snapshot.Links {
		if ok && link.Master == master.Index && link.Kind == "veth" {
			return h.linkNamed(link.Name, "veth")
		}
	}
	return packetfilter.Link{Name: "veth", Kind: "veth"}
}

// addressOf is that of a link in the family and, where there is one, the subnet of another address.
func (h *Host) addressOf(name string, of netip.Addr) (found netip.Addr) {
	link, _ := h.Snapshot.Link(name)
	for _, p := range link.Global() {
		if p.Contains(of) {
			return p.Addr()
		}
		if p.Addr().Is4() == of.Is4() {
			found = p.Addr()
		}
	}
	return found
}

// wayOut is the link by which the host reaches the outside in the family of an address.
func (h *Host) wayOut(of netip.Addr) (packetfilter.Link, bool) {
	routes, err := h.Kernel.Host.RouteGet(packetfilter.Outside(of))
	if err != nil || len(routes) == 0 {
		return packetfilter.Link{}, false
	}
	link, ok := h.Snapshot.LinkAt(routes[0].LinkIndex)
	if !ok || link.Kind == "loopback" {
		return packetfilter.Link{}, false
	}
	return h.linkNamed(link.Name, link.Kind), true
}

// within is what one container sends to another of its network, as the firewall's chains see it where br_netfilter shows it to them.
func (h *Host) within(n topology.Network, addr netip.Addr) packetfilter.Packet {
	bridge := h.linkNamed(n.Link, "bridge")
	return packetfilter.Packet{
		In: bridge, Out: bridge, Source: addr, Destination: addr.Next(), SourcePort: clientPort, DestinationPort: serverPort,
	}
}

// legacyTables lists the tables of a family's iptables-legacy that are in use in the thread's network namespace, a line each.
var legacyTables = []struct {
	command, path string
	of6           bool
}{
	{"iptables-legacy", "/proc/thread-self/net/ip_tables_names", false},
	{"ip6tables-legacy", "/proc/thread-self/net/ip6_tables_names", true},
}

// filters reads the rules of others: those of nftables, and those of iptables-legacy, which nftables does not see. It is asked only where
// its table is loaded already, as asking would load it. They are read once.
func (h *Host) filters(ctx context.Context) (*packetfilter.Filter, []Finding, error) {
	if h.filter != nil {
		return h.filter, nil, nil
	}
	filter, findings, err := readFilters(ctx, h)
	h.filter = filter
	return filter, findings, err
}

func readFilters(ctx context.Context, h *Host) (*packetfilter.Filter, []Finding, error) {
	filter, err := packetfilter.Read(h.Kernel)
	if err != nil {
		return nil, nil, err
	}
	var findings []Finding
	for _, legacy := range legacyTables {
		tables, err := os.ReadFile(legacy.path)
		if err != nil || !slices.Contains(strings.Fields(string(tables)), "filter") {
			continue
		}
		rules, err := exec.CommandContext(ctx, legacy.command, "--wait", "-S").Output()
		if err != nil {
			findings = append(findings, undecidedf("there are rules of %s, which could not be read (%v)", legacy.command, err).
				remedy("look at them by %s -S FORWARD", legacy.command))
			continue
		}
		filter = filter.Beside(packetfilter.ParseLegacy(string(rules), legacy.of6))
	}
	return filter, findings, nil
}
