package doctor

import (
	"context"
	"fmt"

	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/snapshot"
)

// checkMTU compares both ends of each container's link, bridges with the way out, and tunnels with their underlay.
func checkMTU(_ context.Context, h *Host) ([]Finding, error) {
	findings := h.veths()
	if link := h.Kernel.Host.Uplink(); link != nil {
		findings = append(findings, h.bridges(link.Attrs().Name, link.Attrs().MTU)...)
	}
	return append(findings, h.tunnels()...), nil
}

// veths compares the ends of the containers' links: what is larger than the other end's MTU is dropped there, and nobody
// is told.
func (h *Host) veths() []Finding {
	var findings []Finding
	for _, ns := range h.Snapshot.Others {
		for _, inside := range ns.Links {
			end, ok := h.Snapshot.LinkAt(inside.Lower)
			if !ok || inside.Kind != "veth" || end.Lower != inside.Index || end.LowerIn != ns.ID || end.MTU == inside.MTU {
				continue
			}
			command := fmt.Sprintf("ip link set %s mtu %d", shell(end.Name), inside.MTU)
			if inside.MTU > end.MTU && len(ns.Paths) > 0 {
				command = fmt.Sprintf("nsenter --net=%s ip link set %s mtu %d", shell(ns.Paths[0]), shell(inside.Name), end.MTU)
			}
			findings = append(findings, errorf("%s of %s has MTU %d, and its other end %s has %d: larger packets are lost in silence",
				inside.Name, h.containerIn(ns), inside.MTU, end.Name, end.MTU).command("%s", command))
		}
	}
	return findings
}

// containerIn names the container in a namespace.
func (h *Host) containerIn(ns snapshot.Namespace) string {
	for _, a := range h.Alive {
		for _, path := range ns.Paths {
			if a.Netns == path {
				return "container " + a.DisplayName()
			}
		}
	}
	if len(ns.Paths) > 0 {
		return "namespace " + ns.Paths[0]
	}
	return "process " + ns.Process
}

// bridges compares what is forwarded with the way out. The kernel then asks senders for smaller packets (RFC 1191), which
// firewalls on the way often lose.
func (h *Host) bridges(uplink string, mtu int) []Finding {
	var findings []Finding
	for _, n := range h.described {
		link, ok := h.Snapshot.Link(n.Link)
		if !ok || link.Kind != "bridge" || !forwards(n) || link.MTU <= mtu || link.Name == uplink {
			continue
		}
		findings = append(findings, warningf("bridge %s of network %s has MTU %d, and the way out by %s %d: connections depend on path MTU discovery",
			link.Name, n.Name, link.MTU, uplink, mtu).remedy("%s, and attach its containers anew", setMTU(h, n.Name, mtu)))
	}
	return findings
}

// tunnels compares VXLAN devices with the link that carries their packets.
func (h *Host) tunnels() []Finding {
	var findings []Finding
	for _, l := range h.Snapshot.Links {
		if l.Kind != "vxlan" || !l.VXLAN.Local.IsValid() {
			continue
		}
		under, ok := h.underlay(l)
		if !ok {
			findings = append(findings, errorf("tunnel %s sends from %s, which no link of the host has: its packets go nowhere", l.Name, l.VXLAN.Local).
				remedy("give the host the address %s, or let its networks choose another", l.VXLAN.Local))
			continue
		}
		if most := under.MTU - overlay.Overhead(l.VXLAN.Local); l.MTU > most {
			findings = append(findings, errorf("tunnel %s has MTU %d, and its underlay %s with MTU %d leaves %d: large packets are lost",
				l.Name, l.MTU, under.Name, under.MTU, most).command("ip link set %s mtu %d", shell(l.Name), most))
		}
	}
	return findings
}

func (h *Host) underlay(l snapshot.Link) (snapshot.Link, bool) {
	for _, other := range h.Snapshot.Links {
		for _, p := range other.Addrs {
			if p.Addr() == l.VXLAN.Local {
				return other, true
			}
		}
	}
	return snapshot.Link{}, false
}

// setMTU says where the key of a network goes.
func setMTU(h *Host, network string, mtu int) string {
	return fmt.Sprintf("set \"mtu\": %d in %s", mtu, fileOf(h.Networks, network))
}

// fileOf is the file of a network, or its name where it has none.
func fileOf(networks conflist.Networks, name string) string {
	for _, n := range networks.All {
		if n.Name == name && n.File != "" {
			return n.File
		}
	}
	return "network " + name
}
