package doctor

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/attachment"
)

// checkLeftovers looks for what a container has on the host after it has gone, and for attachments that nobody has taken
// back.
func checkLeftovers(_ context.Context, h *Host) ([]Finding, error) {
	interrupted, err := h.Runtime.Interrupted()
	if err != nil {
		return nil, err
	}
	var findings []Finding
	killed, named := make(map[string]bool), h.tags()
	for _, a := range interrupted {
		killed[a.Owner().Tag()], named[a.Owner().Tag()] = true, true
		findings = append(findings, warningf("%s of container %s on network %s was being attached when the process that did so was killed",
			a.IfName, a.DisplayName(), a.Network).command("fairway gc"))
	}
	for _, a := range attachment.Stale(h.Attached) {
		findings = append(findings, warningf("%s of container %s on network %s was never detached, and its namespace is gone", a.IfName, a.DisplayName(), a.Network).
			command("fairway gc"))
	}
	for _, a := range h.Attached {
		if a.Unrecorded && !killed[a.Owner().Tag()] {
			findings = append(findings, warningf("%s of container %s on network %s is there, and no record of it is known", a.IfName, a.ID, a.Network).
				command("fairway disconnect %s %s", shell(a.Network), shell(a.ID)).remedy("unless its runtime keeps records that are not below /var/lib/cni"))
		}
	}
	ofNetwork := make(map[string]bool)
	for _, n := range h.Networks.All {
		ofNetwork[n.Link] = true
	}
	marks, err := h.marked()
	if err != nil {
		return findings, err
	}
	for _, bridge := range marks.OrphanBridges(func(bridge string) bool { return ofNetwork[bridge] }) {
		findings = append(findings, warningf("bridge %s is of no network: the network's file has gone, and its subnet is taken", bridge).command("fairway gc"))
	}
	of := make(map[string][]string)
	for _, holding := range marks.Holdings {
		if !named[holding.Tag] && !slices.Contains(of[holding.Tag], holding.Object) {
			of[holding.Tag] = append(of[holding.Tag], holding.Object)
		}
	}
	for _, tag := range slices.Sorted(maps.Keys(of)) {
		findings = append(findings, warningf("%s %s of no container on record (%s)", some(of[tag]),
			plural(len(of[tag]), "is", "are"), strings.TrimPrefix(tag, "fairway ")).command("fairway gc").remedy("unless a container is being attached"))
	}
	return findings, nil
}
