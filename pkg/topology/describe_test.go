package topology_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/topology"
)

func TestDescribeNetworks(t *testing.T) {
	dir := t.TempDir()
	for name, plugin := range map[string]string{
		"blue":  `{"type": "bridge", "bridge": "br-blue", "ipMasq": true, "isolated": true, "ipam": {"type": "host-local", "subnet": "10.4.0.0/24"}}`,
		"dark":  `{"type": "bridge", "internal": true, "ipMasq": true, "icc": false}`,
		"lan":   `{"type": "macvlan", "master": "eth0"}`,
		"vault": `{"type": "overlay-vxlan", "vni": 43, "encrypted": true, "subnet": "10.43.0.0/16"}`,
		"wide":  `{"type": "overlay-vxlan", "vni": 4096, "subnet": "10.42.0.0/16"}`,
		"weird": `{"type": "other", "isolated": "sometimes"}`,
	} {
		conf := `{"cniVersion": "1.1.0", "name": "` + name + `", "plugins": [` + plugin + `]}`
		if err := os.WriteFile(filepath.Join(dir, name+".conflist"), []byte(conf), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	networks, err := conflist.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []topology.Network{
		{Name: "blue", Type: "bridge", Link: "br-blue", Subnets: prefixes("10.4.0.0/24"), Defined: true,
			Marks: []string{topology.Masquerade, topology.Isolated}},
		{Name: "dark", Type: "bridge", Link: "cni0", Defined: true, Marks: []string{topology.Internal, topology.NoICC}},
		{Name: "lan", Type: "macvlan", Link: "eth0", Defined: true},
		{Name: "vault", Type: "overlay-vxlan", Link: "fwwg43", Subnets: prefixes("10.43.0.0/16"), Defined: true, Marks: []string{topology.Encrypted}},
		{Name: "weird", Type: "other", Defined: true},
		{Name: "wide", Type: "overlay-vxlan", Link: "fwvx4096", Subnets: prefixes("10.42.0.0/16"), Defined: true},
	}
	got := topology.DescribeNetworks(networks.All)
	got = got[:len(want)] // the predefined ones follow
	exact := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	if diff := cmp.Diff(want, got, exact); diff != "" {
		t.Errorf("networks (-want +got):\n%s", diff)
	}
}
