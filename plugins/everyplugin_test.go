package plugins

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// everyPlugin is an attachment by each plugin, on a host of its own, with all that plugin can have to make.
// sbr is none of them: after its DEL the container has no routes that a second ADD could move, as its link goes next.
func everyPlugin() map[string]func(t *testing.T) attachment {
	all := everyAttaching()
	all["portmap"] = everyChained("portmap", map[string]any{"runtimeConfig": map[string]any{"portMappings": []any{mapping(8080, 80)}}})
	all["firewall"] = everyChained("firewall", nil)
	all["tuning"] = everyChained("tuning", map[string]any{
		"sysctl": map[string]string{"net.ipv4.conf.IFNAME.arp_filter": "1"}, "mtu": 1400, "promisc": true,
	})
	all["bandwidth"] = everyChained("bandwidth", map[string]any{
		"ingressRate": 1000000, "ingressBurst": 1000000, "egressRate": 1000000, "egressBurst": 1000000,
	})
	return all
}

// everyAttaching is those of everyPlugin that stand first in a list.
func everyAttaching() map[string]func(t *testing.T) attachment {
	return map[string]func(t *testing.T) attachment{
		"bridge": func(t *testing.T) attachment { return bridgeOn(t, testnet.NewNS(t, "c")) },
		"macvlan": func(t *testing.T) attachment {
			a, _ := macvlanOn(t, testnet.NewNS(t, "c"))
			return a.with("hostAccess", true)
		},
		"none": func(t *testing.T) attachment {
			a := bridgeOn(t, testnet.NewNS(t, "c")).with("ipam", nil)
			a.plugin = "none"
			return a
		},
		"host-local": func(t *testing.T) attachment {
			a := bridgeOn(t, testnet.NewNS(t, "c"))
			a.plugin = "host-local"
			return a
		},
		"overlay-vxlan": func(t *testing.T) attachment {
			u := newUnderlay(t, false)
			return overlayOn(t, u, u.host(t, 1), testnet.NewNS(t, "c"))
		},
		"ptp": func(t *testing.T) attachment {
			a := bridgeOn(t, testnet.NewNS(t, "c"))
			a.plugin, a.conf = "ptp", map[string]any{"cniVersion": "1.1.0", "name": "net", "type": "ptp", "ipMasq": true, "ipam": a.conf["ipam"]}
			return a
		},
	}
}

// everyChained is a plugin behind a bridge, whose attachment stays.
func everyChained(plugin string, keys map[string]any) func(t *testing.T) attachment {
	return func(t *testing.T) attachment {
		a := bridgeOn(t, testnet.NewNS(t, "c"))
		return a.behind(a.add(t), plugin, keys)
	}
}
