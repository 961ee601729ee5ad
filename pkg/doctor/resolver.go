package doctor

import (
	"context"
	"os"

	"github.com/fairway-cni/fairway/pkg/sandbox"
)

// checkResolver looks for containers that have no server but the host's, where the host's is one on its own loopback.
func checkResolver(_ context.Context, h *Host) ([]Finding, error) {
	if len(h.Resolv) == 0 {
		return nil, nil
	}
	for _, path := range h.Resolv {
		if text, err := os.ReadFile(path); err == nil && sandbox.HasServers(string(text)) {
			return nil, nil
		}
	}
	var without []string
	for _, a := range h.Alive {
		w, ok := h.way(a)
		if ok && forwards(w.network) && len(a.DNS.Nameservers) == 0 {
			without = append(without, a.DisplayName())
		}
	}
	if len(without) == 0 {
		return nil, nil
	}
	return []Finding{warningf("%s names no server beyond the host's own loopback, and the networks of %s name none: containers resolve no names", h.Resolv[0], some(without)).
		command("echo nameserver SERVER >> %s", shell(h.Resolv[0])).remedy("with the address of a server as SERVER; or give containers one by --dns")}, nil
}
