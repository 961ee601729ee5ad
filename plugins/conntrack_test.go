package plugins

import (
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestConnectionsAreTrackedOnDemand: a network that neither masquerades nor publishes has the kernel track no connection, which would
// cost every packet of the host. With masquerade it does.
func TestConnectionsAreTrackedOnDemand(t *testing.T) {
	for name, keys := range map[string]map[string]any{
		"bridge": {}, "spoof check": {"macspoofchk": true}, "icc": {"icc": false}, "isolated": {"isolated": true}, "ptp": {"type": "ptp"},
	} {
		for masquerade, how := range map[bool]string{false: "without masquerade", true: "with it"} {
			t.Run(name+" "+how, func(t *testing.T) {
				container := testnet.NewNS(t, "c")
				a := bridgeOn(t, container).with("ipMasq", masquerade)
				for key, value := range keys {
					a = a.with(key, value)
				}
				if kind, ok := keys["type"].(string); ok {
					a.plugin = kind
				}
				v4, _ := addressesOf(t, a.add(t))
				reaches(t, a.host, v4)
				if entries := strings.Count(a.host.Sh(t, "conntrack", "-L"), "src=") / 2; entries > 0 != masquerade {
					t.Errorf("%d connections are tracked", entries)
				}
			})
		}
	}
}
