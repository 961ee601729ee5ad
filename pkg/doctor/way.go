package doctor

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/driver"
	"github.com/fairway-cni/fairway/pkg/snapshot"
	"github.com/fairway-cni/fairway/pkg/topology"
)

// way is what the packets of one attachment pass.
type way struct {
	h       *Host
	a       attachment.Attachment
	network topology.Network
	// gateway: the bridge has the gateways of the network.
	gateway bool
	inside  snapshot.Namespace
	// link is the container's. end is the other end of a veth, and bridge what that should be a port of; each has no name where there is none.
	link, end, bridge snapshot.Link
}

// hop is one part of a way. What is on it stands on the hops before.
type hop struct {
	// name is stable, and said of it when it is fine.
	name, healthy string
	// try looks at it. Nothing is changed.
	try func(context.Context, *way) []Finding
	// sends: packets are sent, for which somebody has to ask.
	sends bool
	// bridged: it is there where the container's packets pass a bridge alone.
	bridged bool
}

// hops are the parts of a way from the container to the outside and back.
func hops() []hop {
	return []hop{
		{"link", "the interface is there and up", tryInterface, false, false},
		{"address", "the interface has its addresses, and nobody else has them", tryAddress, false, false},
		{"bridge", "the host's end is a port of the bridge, which has the gateway", tryBridge, false, true},
		{"neighbour", "the container answers the host", tryNeighbour, true, true},
		{"route", "the container has its routes", tryRoute, false, false},
		{"way out", "the host knows a way to the outside", tryWayOut, false, false},
		{"way back", "what comes back goes to the container", tryWayBack, false, false},
		{"rules", "every plugin finds what it has made", tryRules, true, false},
		{"firewall", "no foreign firewall drops what the container sends or gets", tryFirewall, true, false},
		{"name", "the container finds itself by its name", tryName, true, false},
	}
}

// hopsOf are those that some ways have.
func hopsOf(ways []*way) []hop {
	bridged := slices.ContainsFunc(ways, (*way).onBridge)
	return slices.DeleteFunc(hops(), func(h hop) bool { return h.bridged && !bridged })
}

// checkPath looks at the way of every container, as far as nothing has to be sent.
func checkPath(ctx context.Context, h *Host) ([]Finding, error) {
	var findings []Finding
	for _, a := range h.Alive {
		w, ok := h.way(a)
		if !ok {
			continue
		}
		for _, hop := range hops() {
			if hop.sends {
				continue
			}
			if found := hop.try(ctx, w); len(found) > 0 {
				findings = addOnce(findings, found...)
				h.troubled = append(h.troubled, a.Owner())
				break
			}
		}
	}
	return findings, nil
}

// way finds what an attachment's packets pass. There is none of one that shares the host's namespace, or whose namespace is not found.
func (h *Host) way(a attachment.Attachment) (*way, bool) {
	w := &way{h: h, a: a}
	for _, n := range h.described {
		if n.Name == a.Network {
			w.network = n
		}
	}
	for _, n := range h.Networks.All {
		if n.Name == a.Network {
			w.gateway = n.HasGateway
		}
	}
	var ok bool
	if w.inside, ok = h.Snapshot.At(a.Path()); !ok || a.IfName == "lo" || driver.Of(w.network.Type).Fixed != "" {
		return nil, false
	}
	w.link, _ = w.inside.Link(a.IfName)
	if w.link.Kind == "veth" {
		if end, ok := h.Snapshot.LinkAt(w.link.Lower); ok && end.LowerIn == w.inside.ID {
			w.end = end
		}
	}
	if w.onBridge() {
		w.bridge, _ = h.Snapshot.Link(w.network.Link)
	}
	return w, true
}

// onBridge says whether the container's packets pass a bridge.
func (w *way) onBridge() bool { return driver.Of(w.network.Type).OnBridge }

func (w *way) container() string { return "container " + w.a.DisplayName() }

// within is how a command is run in the container's network.
func (w *way) within(command string) string {
	return "nsenter --net=" + shell(w.a.Path()) + " " + command
}

// restore is the command that gives the interface what it had at first.
func (w *way) restore() string {
	name := shell(w.a.IfName)
	commands := []string{w.within("ip link set " + name + " up")}
	for _, p := range w.a.Addresses {
		commands = append(commands, w.within("ip addr replace "+p.String()+" dev "+name))
	}
	for _, r := range w.a.Routes {
		via := ""
		if r.Via.IsValid() {
			via = " via " + r.Via.String()
		}
		commands = append(commands, w.within("ip route replace "+r.Dst.String()+via+" dev "+name))
	}
	return strings.Join(commands, " && ")
}

// again attaches the container anew.
func (w *way) again() string {
	network, container := shell(w.a.Network), shell(cmp.Or(w.a.Name, w.a.ID))
	return "fairway disconnect " + network + " " + container + " && fairway connect " + network + " " + container
}

func tryInterface(_ context.Context, w *way) []Finding {
	switch {
	case w.link.Name == "":
		return []Finding{errorf("%s has no interface %s any more", w.container(), w.a.IfName).remedy("%s", w.again())}
	case !w.link.Up:
		return []Finding{errorf("%s of %s is down", w.a.IfName, w.container()).command("%s", w.restore())}
	case w.end.Name != "" && !w.end.Up:
		return []Finding{errorf("%s, the host's end of %s of %s, is down", w.end.Name, w.a.IfName, w.container()).command("ip link set %s up", shell(w.end.Name))}
	}
	return nil
}

func tryAddress(_ context.Context, w *way) []Finding {
	var findings []Finding
	for _, p := range w.a.Addresses {
		if !slices.ContainsFunc(w.link.Addrs, func(has netip.Prefix) bool { return has.Addr() == p.Addr() }) {
			return []Finding{errorf("%s of %s has no address %s any more", w.a.IfName, w.container(), p.Addr()).command("%s", w.restore())}
		}
		for _, other := range w.h.segment()[w.segment()] {
			if other.addr.Addr() == p.Addr() && other.namespace != w.inside.ID {
				findings = append(findings, errorf("%s of %s is also the address of %s in %s", p.Addr(), w.container(), other.link, other.where).
					command("%sip addr del %s dev %s", other.enter, other.addr, shell(other.link)))
			}
		}
	}
	return findings
}

// segment is the link of the host that containers meet at: a bridge, or what their macvlans stand on. 0: none.
func (w *way) segment() int { return segmentOf(w.link, w.h.Snapshot) }

func segmentOf(link snapshot.Link, host snapshot.Host) int {
	if link.Kind == "macvlan" {
		return link.Lower
	}
	end, ok := host.LinkAt(link.Lower)
	if link.Kind != "veth" || !ok {
		return 0
	}
	return end.Master
}

// neighbour is an address at a segment.
type neighbour struct {
	addr        netip.Prefix
	namespace   int
	link, where string
	enter       string // how to run a command there
}

// segment gives who has which address at each segment: in every namespace that is connected with the host, also those of nobody's networks.
func (h *Host) segment() map[int][]neighbour {
	if h.segments != nil {
		return h.segments
	}
	h.segments = make(map[int][]neighbour)
	for _, ns := range h.Snapshot.Others {
		for _, link := range ns.Links {
			at := segmentOf(link, h.Snapshot)
			if at == 0 || len(ns.Paths) == 0 {
				continue
			}
			for _, p := range link.Global() {
				h.segments[at] = append(h.segments[at], neighbour{p, ns.ID, link.Name, h.containerIn(ns), "nsenter --net=" + shell(ns.Paths[0]) + " "})
			}
		}
	}
	for _, link := range h.Snapshot.Links {
		for _, p := range link.Global() {
			h.segments[link.Index] = append(h.segments[link.Index], neighbour{p, snapshot.None, link.Name, "the host", ""})
		}
	}
	return h.segments
}

func tryBridge(_ context.Context, w *way) []Finding {
	if !w.onBridge() {
		return nil
	}
	name := shell(w.network.Link)
	switch {
	case w.bridge.Name == "":
		return []Finding{errorf("bridge %s of network %s is not there", w.network.Link, w.a.Network).remedy("attach its containers anew: %s", w.again())}
	case w.end.Name != "" && w.end.Master != w.bridge.Index:
		return []Finding{errorf("%s, the host's end of %s of %s, is no port of bridge %s", w.end.Name, w.a.IfName, w.container(), w.bridge.Name).
			command("ip link set %s master %s && ip link set %s up", shell(w.end.Name), name, shell(w.end.Name))}
	case !w.bridge.Up:
		return []Finding{errorf("bridge %s of network %s is down", w.bridge.Name, w.a.Network).command("%s", w.restoreBridge())}
	}
	for _, p := range w.gateways() {
		if !slices.Contains(w.bridge.Addrs, p) {
			return []Finding{errorf("bridge %s has no address %s, the gateway of network %s", w.bridge.Name, p.Addr(), w.a.Network).command("%s", w.restoreBridge())}
		}
	}
	return nil
}

// gateways are the addresses that the bridge should have for the container.
func (w *way) gateways() []netip.Prefix {
	if !w.gateway {
		return nil
	}
	var all []netip.Prefix
	for _, p := range w.a.Addresses {
		for _, gateway := range w.a.Gateways {
			if p.Contains(gateway) {
				all = append(all, netip.PrefixFrom(gateway, p.Bits()))
			}
		}
	}
	return all
}

// restoreBridge is the command that gives the bridge what it had at first. One without IPv6 has lost its address of it, and cannot get one.
func (w *way) restoreBridge() string {
	name := shell(w.bridge.Name)
	commands := []string{"ip link set " + name + " up"}
	for _, p := range w.gateways() {
		key := "net/ipv6/conf/" + w.bridge.Name + "/disable_ipv6"
		if value, err := w.h.Kernel.Host.Sysctl(key); p.Addr().Is6() && err == nil && value == "1" {
			commands = append(commands, "sysctl -w "+shell(key)+"=0")
		}
		commands = append(commands, "ip addr replace "+p.String()+" dev "+name)
	}
	return strings.Join(commands, " && ")
}

func tryRoute(_ context.Context, w *way) []Finding {
	for _, r := range w.a.Routes {
		if r.Dst.Bits() != 0 || slices.ContainsFunc(w.inside.Routes, func(has snapshot.Route) bool { return has.Dst == r.Dst }) || w.routed(r.Dst.Addr()) {
			continue
		}
		return []Finding{errorf("%s has no default route any more", w.container()).command("%s", w.restore())}
	}
	return nil
}
