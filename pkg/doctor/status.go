package doctor

import (
	"context"
)

// checkStatus asks the plugins of each network whether an ADD would work, as a runtime does (STATUS, CNI 1.1.0).
func checkStatus(ctx context.Context, h *Host) ([]Finding, error) {
	var findings []Finding
	for _, n := range h.networks() {
		ctx, cancel := context.WithTimeout(ctx, patience)
		err := h.Runtime.Status(ctx, n.List)
		cancel()
		if err != nil {
			findings = append(findings, errorf("%v", err).remedy("see what the plugin says; new containers get no network until then"))
		}
	}
	return findings, nil
}
