package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"os"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/overlay"
)

// checkAgent asks the node agent how it fares. Without a network of its own, none need run.
func checkAgent(ctx context.Context, h *Host) ([]Finding, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	health, err := agentapi.New(h.Agent).Health(ctx)
	networks := h.agentNetworks()
	switch {
	case errors.Is(err, agentapi.ErrNoAgent) && len(networks) == 0:
		return nil, nil
	case err != nil:
		level := warningf
		if len(networks) > 0 {
			level = errorf
		}
		return []Finding{level("the node agent does not answer: %v", err).command("systemctl start fairwayd").remedy("see journalctl -u fairwayd")}, nil
	}
	var findings []Finding
	for _, problem := range health.Problems {
		findings = append(findings, errorf("fairwayd: %s", problem).remedy("see journalctl -u fairwayd"))
	}
	for _, peer := range health.Unanswered {
		findings = append(findings, warningf("fairwayd: %s", peer).
			remedy("see that its fairwayd runs (fairway overlay peers), that its health is good, and that no firewall between the hosts drops that UDP port"))
	}
	if !health.Etcd.Connected {
		findings = append(findings, errorf("fairwayd has no connection to etcd (%s): networks go on as they are, and nothing new is learnt", some(health.Etcd.Endpoints)).
			remedy("see that etcd runs and can be reached from this host"))
	}
	if older(health.Version, h.Version) {
		findings = append(findings, warningf("fairwayd is of release %s, and this is %s", health.Version, h.Version).remedy("install this release of it, and restart it"))
	}
	return findings, nil
}

// agentNetworks are the overlays whose peers a node agent tells.
func (h *Host) agentNetworks() []string {
	var names []string
	for _, n := range h.networks() {
		var conf struct {
			PeersFile string `json:"peersFile"`
		}
		if n.Driver == "overlay" && json.Unmarshal(n.List.Plugins[0].Bytes, &conf) == nil && conf.PeersFile != "" && ofAgent(conf.PeersFile) {
			names = append(names, n.Name)
		}
	}
	return names
}

// ofAgent says whether a file of peers has been read from a store, or is still to be written: by hand nobody names a file
// that is not there.
func ofAgent(path string) bool {
	content, err := os.ReadFile(path)
	if err != nil {
		return true
	}
	document, err := overlay.Decode(content)
	return err == nil && document.Revision > 0
}
