package plugins

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestDNSOfTheNetwork comes before that of the IPAM plugin, for each plugin that attaches, and an empty list says that there is none.
func TestDNSOfTheNetwork(t *testing.T) {
	resolvConf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolvConf, []byte("nameserver 192.0.2.53\nsearch example.net\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bridge", "macvlan", "ptp"} {
		for _, tt := range []struct {
			name string
			dns  any
			want types.DNS
		}{
			{"none", nil, types.DNS{Nameservers: []string{"192.0.2.53"}, Search: []string{"example.net"}}},
			{"no key", map[string]any{}, types.DNS{Nameservers: []string{"192.0.2.53"}, Search: []string{"example.net"}}},
			{"another", map[string]any{"nameservers": []string{"192.0.2.54"}}, types.DNS{Nameservers: []string{"192.0.2.54"}}},
			{"an empty list", map[string]any{"search": []string{}}, types.DNS{}},
		} {
			t.Run(name+" "+tt.name, func(t *testing.T) {
				a := everyAttaching()[name](t).withIPAM("resolvConf", resolvConf).with("dns", tt.dns)
				if diff := cmp.Diff(tt.want, a.on(testnet.NewNS(t, "d"), "eth0").add(t).DNS); diff != "" {
					t.Errorf("DNS (-want +got):\n%s", diff)
				}
			})
		}
	}
}
