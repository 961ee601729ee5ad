package kernel_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestPortFlags(t *testing.T) {
	for _, test := range []struct {
		name  string
		flags []string
		want  kernel.PortFlags
	}{
		{"none", nil, kernel.PortFlags{}},
		{"hairpin", []string{"hairpin", "on"}, kernel.PortFlags{Hairpin: true}},
		{"isolated", []string{"isolated", "on"}, kernel.PortFlags{Isolated: true}},
		{"both", []string{"hairpin", "on", "isolated", "on"}, kernel.PortFlags{Hairpin: true, Isolated: true}},
		{"off again", []string{"hairpin", "on", "hairpin", "off"}, kernel.PortFlags{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			testnet.NewHost(t)
			testnet.Sh(t, "ip", "link", "add", "br0", "type", "bridge")
			testnet.Sh(t, "ip", "link", "add", "p0", "type", "veth", "peer", "name", "p1")
			testnet.Sh(t, "ip", "link", "set", "p0", "master", "br0")
			for i := 0; i < len(test.flags); i += 2 {
				testnet.Sh(t, "bridge", "link", "set", "dev", "p0", test.flags[i], test.flags[i+1])
			}
			k := open(t, "")
			if _, err := k.PortFlags(4711); err == nil {
				t.Error("a link that is not there has flags")
			}
			for name, want := range map[string]kernel.PortFlags{"p0": test.want, "p1": {}} {
				link, err := k.Host.Link(name)
				if err != nil {
					t.Fatal(err)
				}
				got, err := k.PortFlags(link.Attrs().Index)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}
