package plugins

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestRangesOfTheRuntime: a kubelet's runtime gives the ranges with ADD, CHECK and DEL; GC and STATUS come without.
func TestRangesOfTheRuntime(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c")).with("capabilities", map[string]bool{"ipRanges": true})
	ipam := hostLocal(t.TempDir())
	delete(ipam, "ranges")
	bare := a.with("ipam", ipam)
	full := bare.with("runtimeConfig", map[string]any{"ipRanges": [][]map[string]string{{{"subnet": "10.1.0.0/24"}}}})
	bare.statusCall().succeed(t, "STATUS")
	full = full.after(full.add(t))
	full.succeed(t, "CHECK")
	bare.gcCall().with("cni.dev/valid-attachments", alive("c")).succeed(t, "GC")
	full.succeed(t, "CHECK")
	bare.gcCall().with("cni.dev/valid-attachments", alive()).succeed(t, "GC")
	full.wantGone(t)
}
