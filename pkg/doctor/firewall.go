package doctor

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/state/ruleset"
)

// checkFirewall looks for chains of others that drop what the host forwards and do not know the networks' links.
func checkFirewall(ctx context.Context, h *Host) ([]Finding, error) {
	links := h.forwardedLinks()
	if len(links) == 0 {
		return nil, nil
	}
	findings := legacyFirewall(ctx, links)
	drops, err := ruleset.ForwardDrops(h.Kernel)
	if err != nil {
		return findings, err
	}
	for _, drop := range drops {
		allowed, err := drop.Mentions(h.Kernel)
		if err != nil {
			return findings, err
		}
		for _, link := range links {
			if !allowed(link) {
				findings = append(findings, errorf("chain %s drops what is forwarded from and to %s, and no accept of fairway's can override that", drop, link).
					remedy("%s", drop.Remedy(link)))
			}
		}
	}
	return findings, nil
}

// forwardedLinks are the links of networks from which the host forwards packets. Those of a network that is not in use yet
// may be missing.
func (h *Host) forwardedLinks() []string {
	var links []string
	for _, n := range h.described {
		if _, ok := h.Snapshot.Link(n.Link); ok && forwards(n) && !slices.Contains(links, n.Link) {
			links = append(links, n.Link)
		}
	}
	return links
}

// legacyTables lists the tables of iptables-legacy that are in use in the thread's network namespace, a line each.
const legacyTables = "/proc/thread-self/net/ip_tables_names"

// legacyFirewall asks iptables-legacy, whose rules nftables does not see. It is asked only where its table is loaded
// already, as asking would load it.
func legacyFirewall(ctx context.Context, links []string) []Finding {
	tables, err := os.ReadFile(legacyTables)
	if err != nil || !slices.Contains(strings.Fields(string(tables)), "filter") {
		return nil
	}
	rules, err := exec.CommandContext(ctx, "iptables-legacy", "--wait", "-S", "FORWARD").Output()
	if err != nil {
		return []Finding{warningf("there are rules of iptables-legacy, which could not be read (%v)", err).
			remedy("look at them by iptables-legacy -S FORWARD")}
	}
	var findings []Finding
	for _, link := range legacyDrops(string(rules), links) {
		findings = append(findings, errorf("chain FORWARD of iptables-legacy drops what is forwarded from and to %s", link).
			remedy("iptables-legacy -I FORWARD -i %s -j ACCEPT && iptables-legacy -I FORWARD -o %s -j ACCEPT", link, link))
	}
	return findings
}

// legacyDrops reads the output of iptables -S FORWARD: with policy DROP, the links that no rule names are dropped.
func legacyDrops(rules string, links []string) []string {
	words := strings.Fields(rules)
	if !strings.Contains(rules, "-P FORWARD DROP") {
		return nil
	}
	var dropped []string
	for _, link := range links {
		named := slices.ContainsFunc(words, func(word string) bool {
			begin, wildcard := strings.CutSuffix(word, "+")
			return word == link || wildcard && strings.HasPrefix(link, begin)
		})
		if !named {
			dropped = append(dropped, link)
		}
	}
	return dropped
}
