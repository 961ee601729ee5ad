package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/fairway-cni/fairway/pkg/conflist"
)

// checkStatus asks the plugins of each network whether an ADD would work, as a runtime does (STATUS, CNI 1.1.0).
func checkStatus(ctx context.Context, h *Host) ([]Finding, error) {
	var findings []Finding
	networks := h.networks()
	if left := len(networks) - h.MostChecked; left > 0 && h.MostChecked > 0 {
		// Those that containers are on come first, as more of them are to be expected.
		slices.SortStableFunc(networks, func(a, b conflist.Network) int { return cmp.Compare(len(h.on(b.Name)), len(h.on(a.Name))) })
		networks = networks[:h.MostChecked]
		findings = append(findings, Finding{Level: OK, Message: fmt.Sprintf(
			"the plugins of %d networks were asked, those in use first, and of %d were not: --check status asks all", h.MostChecked, left)})
	}
	return append(findings, together(networks, func(n conflist.Network) []Finding { return h.status(ctx, n) })...), nil
}

func (h *Host) status(ctx context.Context, n conflist.Network) []Finding {
	if h.hangs(n.List) {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := h.Runtime.Status(bounded, n.List)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return h.noteHanging(n.Name, "STATUS")
	case err != nil:
		return []Finding{errorf("%v", err).remedy("see what the plugin says; new containers get no network until then")}
	}
	return nil
}
