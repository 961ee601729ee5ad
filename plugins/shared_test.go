package plugins

import (
	"strings"
	"sync"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestAddBesideOneThatFails: what an ADD takes back when it fails, no other loses: neither does a good ADD of the same bridge
// fail, nor does it end on a bridge that is gone.
func TestAddBesideOneThatFails(t *testing.T) {
	const rounds = 30
	good := bridgeOn(t, testnet.NewNS(t, "good"))
	bad := good.with("name", "bad").on(testnet.NewNS(t, "bad"), "eth0").
		withIPAM("ranges", [][]map[string]string{{{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.200"}}}).
		withIPAM("routes", []map[string]any{{"dst": "10.8.0.0/16", "gw": "192.0.2.1"}})
	for round := range rounds {
		var group sync.WaitGroup
		var failed answer
		group.Go(func() { failed = bad.run(t, "ADD") })
		result := good.add(t)
		group.Wait()
		if failed.code == 0 || !strings.Contains(failed.stdout, "network is unreachable") {
			t.Fatalf("round %d: the ADD that fails: exit %d, %s", round, failed.code, failed.stdout)
		}
		good.after(result).succeed(t, "CHECK")
		good.after(result).succeed(t, "DEL")
		good.host.Sh(t, "ip", "link", "del", "br0")
	}
}
