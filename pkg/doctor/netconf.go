package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"

	"github.com/containernetworking/cni/pkg/version"

	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/driver"
)

// checkNetconf reports files that cannot be used, networks that want one bridge to be two things, and versions of CNI that
// lack what keeps a host clean.
func checkNetconf(_ context.Context, h *Host) ([]Finding, error) {
	var findings []Finding
	for _, warning := range h.Networks.Warnings {
		findings = append(findings, errorf("%v", warning).remedy("correct the file, or take it away"))
	}
	var bridges []conflist.Network
	for _, n := range h.networks() {
		if driver.Of(n.Driver).OnBridge {
			bridges = append(bridges, n)
		}
		if old, err := version.GreaterThan("1.1.0", n.List.CNIVersion); err == nil && old && n.File != "" && driver.Of(n.Driver).Collects {
			findings = append(findings, warningf("%s has cniVersion %s: runtimes never call GC and STATUS for it, so that what a crash leaves stays", where(n), n.List.CNIVersion).
				remedy("add \"cniVersions\": [%q, \"1.1.0\"] to the file", n.List.CNIVersion))
		}
	}
	sharing := make(map[string][]conflist.Network) // by the bridge
	for _, a := range bridges {
		others := sharing[a.Link]
		sharing[a.Link] = append(others, a)
		for _, b := range others {
			if key := contradiction(a, b); key != "" {
				findings = append(findings, errorf("%s and %s both use bridge %s, with different values of key %s", where(b), where(a), a.Link, key).
					remedy("give each a bridge of its own in key bridge, or the same settings"))
			}
		}
	}
	return findings, nil
}

// ofBridge are the keys that make a bridge what it is for all its networks.
var ofBridge = []string{"internal", "isolated", "mtu", "promiscMode", "isGateway"}

// contradiction gives the first key of the bridge in which two networks differ, or nothing.
func contradiction(a, b conflist.Network) string {
	x, y := bridgeKeys(a), bridgeKeys(b)
	for _, key := range ofBridge {
		if !bytes.Equal(x[key], y[key]) {
			return key
		}
	}
	return ""
}

// bridgeKeys are the keys of ofBridge that are not at their default.
func bridgeKeys(n conflist.Network) map[string]json.RawMessage {
	keys := make(map[string]json.RawMessage)
	if json.Unmarshal(n.List.Plugins[0].Bytes, &keys) != nil {
		return nil // libcni has read it; a plugin would refuse it
	}
	if bytes.Equal(keys["isDefaultGateway"], []byte("true")) {
		keys["isGateway"] = []byte("true") // which that implies
	}
	maps.DeleteFunc(keys, func(_ string, value json.RawMessage) bool {
		return bytes.Equal(value, []byte("false")) || bytes.Equal(value, []byte("0")) || bytes.Equal(value, []byte("null"))
	})
	return keys
}
