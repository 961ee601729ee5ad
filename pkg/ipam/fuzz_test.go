package ipam

import (
	"testing"

	"github.com/containernetworking/cni/pkg/types/create"
)

// FuzzDelegateResult reads what an executed plugin prints: whatever it is, it is a sound lease, or an error.
func FuzzDelegateResult(f *testing.F) {
	f.Add([]byte(result))
	f.Add([]byte(`{"cniVersion": "0.4.0", "interfaces": [null], "ips": [null, {"address": "10.1.0.2/24"}], "routes": [null]}`))
	f.Add([]byte(`{"cniVersion": "0.2.0", "ip4": {"routes": [null]}, "ip6": null}`))
	f.Add([]byte(`{"ip4": {"ip": "10.1.0.2/24", "gateway": "10.1.0.1", "routes": [{"dst": "::/0"}]}}`))
	f.Add([]byte(`{"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.2/24", "interface": -1}]}`))
	f.Add([]byte(`{"cniVersion": "1.1.0", "ips": [{"address": "::ffff:10.8.0.2/120", "gateway": "::ffff:10.8.0.1"}], "routes": [{"gw": "10.8.0.1"}]}`))
	f.Fuzz(func(t *testing.T, printed []byte) {
		decoded, err := create.CreateFromBytes(printed)
		if err != nil {
			return
		}
		lease, err := fromResult(decoded)
		if err != nil {
			return
		}
		wantSound(t, lease, string(printed))
	})
}
