package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/state/naming"
)

// ErrNoWay says that there is no container whose way could be tried.
var ErrNoWay = errors.New("has no container whose packets could be followed")

// Trace tries the way that packets of attachments take, hop by hop, and stops at the first one that fails for any of them: what is beyond
// depends on it. Each hop gives at least one finding. Packets are sent on the host's own links alone.
func Trace(ctx context.Context, h *Host, of string, chosen func(attachment.Attachment) bool) ([]Finding, error) {
	var ways []*way
	for _, a := range h.Alive {
		if w, ok := h.way(a); ok && chosen(a) {
			ways = append(ways, w)
		}
	}
	if len(ways) == 0 {
		return nil, fmt.Errorf("%s %w", of, ErrNoWay)
	}
	var all []Finding
	for _, hop := range hopsOf(ways) {
		var found []Finding
		for _, w := range ways {
			found = addOnce(found, hop.try(ctx, w)...)
		}
		if len(found) == 0 {
			found = []Finding{{Level: OK, Message: hop.healthy}}
		}
		for _, f := range found {
			f.Check = hop.name
			all = append(all, f)
		}
		if Worst(found) == Error {
			return all, nil
		}
	}
	return all, nil
}

// tryRules asks the plugins, and the host's forwarding.
func tryRules(ctx context.Context, w *way) []Finding {
	for _, p := range w.a.Addresses {
		if slices.Contains(w.h.notForwarded(p.Addr()), w.a.Network) {
			found, _ := checkForwarding(ctx, w.h) // it could be read a moment ago
			return found
		}
	}
	if w.a.Unrecorded {
		return nil
	}
	return w.h.ask(ctx, w.a)
}

func tryFirewall(ctx context.Context, w *way) []Finding {
	filter, findings, err := w.h.filters(ctx)
	if err != nil {
		return []Finding{undecidedf("the rules could not be read: %v", err).remedy("run it as root")}
	}
	for _, p := range w.a.Addresses {
		findings = append(findings, w.h.filtered(filter, w.network, p.Addr())...)
	}
	return findings
}

func tryName(ctx context.Context, w *way) []Finding {
	records, err := naming.Records()
	if err != nil {
		return []Finding{undecidedf("the records of names could not be read: %v", err).remedy("run it as root")}
	}
	for _, r := range records {
		if r.Owner.Network == w.a.Network && r.Owner.ContainerID == w.a.ID && r.Owner.IfName == w.a.IfName {
			if finding, bad := followQuery(ctx, r); bad {
				return []Finding{finding}
			}
		}
	}
	return nil
}
