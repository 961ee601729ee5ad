package doctor

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
)

// checkFilters looks at two filters outside of any firewall's rules.
func checkFilters(_ context.Context, h *Host) ([]Finding, error) {
	strict, err := h.strictUplinks()
	if err != nil {
		return nil, err
	}
	bridged, err := h.bridgeNetfilter()
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
				name, strings.Join(uplinks, ", ")).remedy("sysctl -w net/ipv4/conf/%s/rp_filter=2", name))
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
func (h *Host) bridgeNetfilter() ([]Finding, error) {
	drops, err := ruleset.ForwardDrops(h.Kernel)
	if err != nil {
		return nil, err
	}
	var findings []Finding
	for _, family := range []struct{ table, key string }{
		{"ip ", "net/bridge/bridge-nf-call-iptables"}, {"ip6 ", "net/bridge/bridge-nf-call-ip6tables"},
	} {
		value, err := h.Kernel.Host.Sysctl(family.key)
		if errors.Is(err, fs.ErrNotExist) || value == "0" {
			continue // the module is not loaded, or lets frames pass
		}
		if err != nil {
			return findings, err
		}
		for _, drop := range drops {
			found, err := h.droppedWithin(drop, family.table)
			if err != nil {
				return findings, err
			}
			if len(found) > 0 {
				findings = append(findings, warningf("br_netfilter shows chain %s what containers of %s send to each other, and it drops that", drop, some(found)).
					remedy("allow them as the check firewall says, or sysctl -w %s=0 where no kube-proxy runs", family.key))
			}
		}
	}
	return findings, nil
}

// droppedWithin are the bridges with ports that a chain of a family does not know.
func (h *Host) droppedWithin(drop ruleset.ForwardDrop, family string) ([]string, error) {
	if !strings.HasPrefix(drop.Table, family) && !strings.HasPrefix(drop.Table, "inet ") {
		return nil, nil
	}
	allowed, err := drop.Mentions(h.Kernel)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, n := range h.described {
		link, ok := h.Snapshot.Link(n.Link)
		if ok && link.Kind == "bridge" && h.used(n.Name) && !allowed(n.Link) && !slices.Contains(found, n.Link) {
			found = append(found, n.Link)
		}
	}
	return found, nil
}
