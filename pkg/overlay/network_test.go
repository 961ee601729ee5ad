package overlay

import (
	"encoding/json"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var (
	equalNetip = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})
	emptyIsNil = cmpopts.EquateEmpty()
)

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func TestNetwork(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Network
	}{
		{`{"vni": 4096, "subnet": "10.42.0.0/16"}`, Network{VNI: 4096, Subnets: prefixes("10.42.0.0/16"), Port: 4789}},
		{`{"name": "shop", "vni": 16777215, "subnets": ["fd42::/48", "10.42.0.0/16"], "mtu": 1280, "port": 8472, "internal": true, "ipMasq": true, "isolated": false}`,
			Network{Name: "shop", VNI: 16777215, Subnets: prefixes("fd42::/48", "10.42.0.0/16"), MTU: 1280, Port: 8472, Internal: true, IPMasq: true, Open: true}},
		{`{"vni": 1, "subnet": "10.42.0.0/16", "subnets": ["fd42::/48"], "isolated": true}`,
			Network{VNI: 1, Subnets: prefixes("10.42.0.0/16", "fd42::/48"), Port: 4789}},
	} {
		t.Run(tt.text, func(t *testing.T) {
			var got Network
			if err := json.Unmarshal([]byte(tt.text), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, equalNetip); diff != "" {
				t.Errorf("network (-want +got):\n%s", diff)
			}
			text, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			var again Network
			if err := json.Unmarshal(text, &again); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, again, equalNetip); diff != "" {
				t.Errorf("written and read again (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNetworkRefuses(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`{"subnet": "10.42.0.0/16"}`, `key vni is 0: give the network an identifier from 1 to 16777215 that no other has`},
		{`{"vni": -1}`, `key vni is -1: give the network an identifier from 1 to 16777215 that no other has`},
		{`{"vni": 16777216}`, `key vni is 16777216: give the network an identifier from 1 to 16777215 that no other has`},
		{`{"vni": 1}`, `key subnet is missing: give the network's subnet, such as 10.42.0.0/16, or one of each family in key subnets`},
		{`{"vni": 1, "subnet": "10.42.0.0"}`, `key subnet is "10.42.0.0": give a subnet, such as 10.42.1.0/24`},
		{`{"vni": 1, "subnet": "10.42.0.1/16"}`, `key subnet is 10.42.0.1/16, which has host bits: write 10.42.0.0/16`},
		{`{"vni": 1, "subnets": ["fd42::/48", "fd42::1/64"]}`, `subnets[1] is fd42::1/64, which has host bits: write fd42::/64`},
		{`{"vni": 1, "subnet": "::ffff:10.0.0.0/112"}`, `key subnet is "::ffff:10.0.0.0/112": give a subnet, such as 10.42.1.0/24`},
		{`{"vni": 1, "subnets": ["10.1.0.0/16", "10.2.0.0/16"]}`, `key subnets has two subnets of one family: give one of IPv4, one of IPv6, or one of each`},
		{`{"vni": 1, "subnet": "10.42.0.0/16", "port": 65536}`, `key port is 65536: give a UDP port from 1 to 65535, or leave it out for 4789`},
		{`{"vni": 1, "subnet": "10.42.0.0/16", "mtu": 67}`, `key mtu is 67: give 68 to 65535, or leave it out for the underlay's less the encapsulation`},
		{`{"vni": 1, "subnet": "fd42::/48", "mtu": 1279}`, `key mtu is 1279: give 1280 to 65535, or leave it out for the underlay's less the encapsulation`},
	} {
		t.Run(tt.text, func(t *testing.T) {
			wantConfigError(t, json.Unmarshal([]byte(tt.text), &Network{}), tt.want)
		})
	}
}

func wantConfigError(t *testing.T, err error, want string) {
	t.Helper()
	if !errors.Is(err, ErrConfig) {
		t.Fatalf("error %v is not ErrConfig", err)
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("sentence (-want +got):\n%s", diff)
	}
}
