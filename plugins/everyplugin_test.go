package plugins

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// everyPlugin is an attachment by each plugin that leaves something, on a host of its own, with all that plugin can have to make.
func everyPlugin() map[string]func(t *testing.T) attachment {
	all := everyAttaching()
	all["bridge with ports"] = func(t *testing.T) attachment {
		var row []map[string]any // an interval, beside single ports
		for port := range 20 {
			row = append(row, mapping(9000+port, 9000+port))
		}
		return all["bridge"](t).withPorts(append(row, mapping(8080, 80), map[string]any{"hostPort": 5353, "containerPort": 53, "protocol": "udp"})...)
	}
	all["portmap"] = everyChained("portmap", map[string]any{"runtimeConfig": map[string]any{"portMappings": []any{mapping(8080, 80)}}})
	all["firewall"] = everyChained("firewall", nil)
	all["tuning"] = everyChained("tuning", map[string]any{
		"sysctl": map[string]string{"net.ipv4.conf.IFNAME.arp_filter": "1"}, "mtu": 1400, "promisc": true,
	})
	all["bandwidth"] = everyChained("bandwidth", map[string]any{
		"ingressRate": 1000000, "ingressBurst": 1000000, "egressRate": 1000000, "egressBurst": 1000000,
	})
	all["sbr"] = func(t *testing.T) attachment {
		beneath := bridgeOn(t, testnet.NewNS(t, "c")).with("ipam", map[string]any{"type": "static", "addresses": []any{
			map[string]string{"address": "10.1.0.2/24", "gateway": "10.1.0.1"}, map[string]string{"address": "fd01::2/64", "gateway": "fd01::1"},
		}})
		a := beneath.behind(beneath.add(t), "sbr", nil)
		a.beneath = &beneath
		return a
	}
	return all
}

// afresh is the attachment with nothing done by its plugin. After DEL of sbr, the routes that it has moved go with the link: there has to
// be another one.
func (a attachment) afresh(t *testing.T) attachment {
	t.Helper()
	if a.beneath == nil {
		return a
	}
	a.beneath.succeed(t, "DEL")
	return a.after(a.beneath.add(t))
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
