package plugins

import (
	"encoding/json"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestStatic: bridge has the addresses that the README's example names.
func TestStatic(t *testing.T) {
	var ipam map[string]any
	if err := json.Unmarshal(example(t, "static"), &ipam); err != nil {
		t.Fatal(err)
	}
	a := bridgeOn(t, testnet.NewNS(t, "c")).with("ipam", ipam)
	result := a.add(t)
	wantText(t, "address", "10.25.0.7/24", result.IPs[0].Address.String())
	wantText(t, "gateway", "10.25.0.1", result.IPs[0].Gateway.String())
	wantText(t, "address", "fd00:25::7/64", result.IPs[1].Address.String())
	a = a.after(result)
	a.succeed(t, "CHECK")
	a.statusCall().succeed(t, "STATUS")
	a.succeed(t, "DEL")
	a.succeed(t, "DEL")
	a.plugin = "static"
	a.withIPAM("addresses", []any{map[string]string{"address": "10.25.0.7/24", "gateway": "10.25.0.9"}}).fail(t, "CHECK", 7)
	a.with("ipam", nil).succeed(t, "DEL")
	a.with("ipam", nil).fail(t, "ADD", 7)
}
