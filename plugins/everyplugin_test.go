package plugins

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// everyPlugin is an attachment by each plugin, on a host of its own, with all that plugin can have to make.
func everyPlugin() map[string]func(t *testing.T) attachment {
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
	}
}
