package blueprint

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/pools"
)

// TestSettle: the predefined bridge has the compiled subnet, unless that would take something from the host or from another network.
func TestSettle(t *testing.T) {
	bridge, err := conflist.Predefined("bridge")
	if err != nil {
		t.Fatal(err)
	}
	route := func(prefix string) pools.Taken {
		return pools.Taken{Prefix: netip.MustParsePrefix(prefix), Link: "eth0"}
	}
	own := pools.Taken{Prefix: netip.MustParsePrefix("192.168.16.0/20"), Link: bridge.Link}
	vpn := pools.Taken{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Link: "tun0", Onward: true}
	shop := conflist.Network{Name: "shop", IPAM: conflist.IPAM{Pools: []conflist.Pool{{Subnet: netip.MustParsePrefix("10.87.5.0/24")}}}}
	kept := shop
	kept.ConfigOnly = true
	filed := bridge
	filed.File = "/etc/cni/net.d/fairway-bridge.conflist"
	for name, test := range map[string]struct {
		bridge   conflist.Network
		networks []conflist.Network
		taken    []pools.Taken
		want     string
	}{
		"nothing in the way":              {bridge, nil, []pools.Taken{route("192.0.2.0/24")}, "10.87.0.0/16"},
		"an address of the host":          {bridge, nil, []pools.Taken{route("10.87.3.0/24")}, "172.17.0.0/16"},
		"a nameserver":                    {bridge, nil, []pools.Taken{route("10.87.0.53/32")}, "172.17.0.0/16"},
		"a VPN's":                         {bridge, nil, []pools.Taken{vpn, route("172.17.0.0/16")}, "172.18.0.0/16"},
		"another network's":               {bridge, []conflist.Network{shop}, nil, "172.17.0.0/16"},
		"a configuration's, of no effect": {bridge, []conflist.Network{kept}, nil, "10.87.0.0/16"},
		"what it has already":             {bridge, nil, []pools.Taken{own, route("192.168.16.0/24")}, "192.168.16.0/20"},
		"what its file says":              {filed, nil, []pools.Taken{route("10.87.3.0/24")}, "10.87.0.0/16"},
	} {
		t.Run(name, func(t *testing.T) {
			networks, err := Settle(conflist.Networks{All: append(test.networks, test.bridge)}, pools.Host{Taken: test.taken})
			if err != nil {
				t.Fatal(err)
			}
			got, err := networks.Find("bridge")
			if err != nil {
				t.Fatal(err)
			}
			want := netip.MustParsePrefix(test.want)
			if pool := got.IPAM.Pools[0]; pool.Subnet != want || pool.Gateway != want.Addr().Next() || got.Link != bridge.Link {
				t.Errorf("got %+v, want %s", pool, want)
			}
			if test.bridge.IPAM.Pools[0].Subnet.String() != "10.87.0.0/16" {
				t.Error("what was given has changed")
			}
		})
	}
	full := []pools.Taken{route("10.0.0.0/8"), route("172.16.0.0/12"), route("192.168.0.0/16")}
	if _, err := Settle(conflist.Networks{All: []conflist.Network{bridge}}, pools.Host{Taken: full}); !errors.Is(err, pools.ErrExhausted) {
		t.Errorf("all in use: got %v, want ErrExhausted", err)
	}
}
