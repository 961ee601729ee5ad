package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/state/ports"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
)

// checkPorts looks for ports that everybody may use although the host's firewall drops what others ask of the host: it does not see
// them, as their packets are forwarded.
func checkPorts(_ context.Context, h *Host) ([]Finding, error) {
	chains, err := ruleset.InputDrops(h.Kernel)
	if err != nil || len(chains) == 0 {
		return nil, err
	}
	open, err := ports.Unlimited(h.Kernel)
	if err != nil {
		return nil, err
	}
	var findings []Finding
	for _, a := range h.Alive {
		var published []string
		for _, p := range open[a.Owner().Tag()] {
			if text := p.Anywhere().String(); !slices.Contains(published, text) {
				published = append(published, text)
			}
		}
		if len(published) == 0 {
			continue
		}
		findings = append(findings, warningf("container %s: %s %s open to everyone, although chain %s drops what others ask of the host",
			a.DisplayName(), some(published), plural(len(published), "is", "are"), strings.Join(chains, ", ")).
			remedy("%s", portsRemedy))
	}
	return findings, nil
}

// portsRemedy are the ways to limit a port.
var portsRemedy = fmt.Sprintf("publish at one address (127.0.0.1:8080:80), limit who comes in (fairway publish --from, publishFrom), "+
	"or add a rule to the chain inet %s %s", ports.Table().Name, ports.UserChain)
