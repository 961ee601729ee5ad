package doctor

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/packetfilter"
)

// checkFilters looks at two filters outside of any firewall's rules.
func checkFilters(ctx context.Context, h *Host) ([]Finding, error) {
	strict, err := h.strictUplinks()
	if err != nil {
		return nil, err
	}
	bridged, err := h.bridgeNetfilter(ctx)
	return append(strict, bridged...), err
}

// strictUplinks: with two ways out, an answer may come in by the one that the route back does not take. The strict
// reverse-path filter (RFC 3704) drops it.
func (h *Host) strictUplinks() ([]Finding, error) {
	var uplinks []string
	for _, r := range h.Snapshot.Defaults() {
		link, ok := h.Snapshot.LinkAt(r.Link)
		if ok && r.Dst.Addr().Is4() && !slices.Contains(uplinks, link.Name) {
			uplinks = append(uplinks, link.Name)
		}
	}
	if len(uplinks) < 2 {
		return nil, nil
	}
	var findings []Finding
	for _, name := range uplinks {
		strict, err := reversePathIsStrict(h.Kernel.Host, name)
		if err != nil {
			return findings, err
		}
		if strict {
			findings = append(findings, warningf("%s filters strictly by reverse path, and there are several ways out (%s): answers that come in by another one are dropped",
				name, strings.Join(uplinks, ", ")).command("sysctl -w net/ipv4/conf/%s/rp_filter=2", shell(name)))
		}
	}
	return findings, nil
}

// reversePathIsStrict: the larger of the link's value and that of all links counts (ip-sysctl of the kernel's documentation).
func reversePathIsStrict(host *kernel.Namespace, link string) (bool, error) {
	effective := ""
	for _, conf := range []string{"all", link} {
		value, err := host.Sysctl("net/ipv4/conf/" + conf + "/rp_filter")
		if err != nil {
			return false, err
		}
		effective = max(effective, value)
	}
	return effective == "1", nil
}

// bridgeNetfilter: with it, frames from one port of a bridge to another pass the firewall's forward chains as well. A
// kube-proxy needs it; beside a chain that drops, containers of one network do not reach each other.
func (h *Host) bridgeNetfilter(ctx context.Context) ([]Finding, error) {
	filter, _, err := h.filters(ctx)
	if err != nil {
		return nil, err
	}
	var findings []Finding
	for _, family := range []struct {
		key string
		of4 bool
	}{{"net/bridge/bridge-nf-call-iptables", true}, {"net/bridge/bridge-nf-call-ip6tables", false}} {
		value, err := h.Kernel.Host.Sysctl(family.key)
		if errors.Is(err, fs.ErrNotExist) || value == "0" {
			continue // the module is not loaded, or lets frames pass
		}
		if err != nil {
			return findings, err
		}
		for _, n := range h.described {
			link, ok := h.Snapshot.Link(n.Link)
			if !ok || link.Kind != "bridge" || !h.used(n.Name) {
				continue
			}
			for _, addr := range h.addressesOn(n) {
				if addr.Is4() != family.of4 {
					continue
				}
				if o := filter.Way(h.within(n, addr), packetfilter.Prerouting, packetfilter.Forward); o.Fate == packetfilter.Dropped {
					findings = addOnce(findings, warningf("br_netfilter shows the firewall what containers of %s send to each other, and %s drops it", n.Link, o.At).
						command("%s", o.Remedy(shell(n.Link), subnetOf(n, addr))).remedy("or, where no kube-proxy runs, sysctl -w %s=0", family.key))
				}
			}
		}
	}
	return findings, nil
}
