package doctor

import (
	"context"
	"errors"
)

// checkStatus asks the plugins of each network whether an ADD would work, as a runtime does (STATUS, CNI 1.1.0).
func checkStatus(ctx context.Context, h *Host) ([]Finding, error) {
	var findings []Finding
	for _, n := range h.networks() {
		if h.hangs(n.List) {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		err := h.Runtime.Status(ctx, n.List)
		cancel()
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			findings = append(findings, h.noteHanging(n.Name, "STATUS")...)
		case err != nil:
			findings = append(findings, errorf("%v", err).remedy("see what the plugin says; new containers get no network until then"))
		}
	}
	return findings, nil
}
