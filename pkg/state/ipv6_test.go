package state_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/bridging"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/state/vxlan"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// Where an administrator has turned IPv6 off on the host, a network of IPv6 has it on its own links, and on no other.
func TestIPv6IsEnabledOnOwnLinksOnly(t *testing.T) {
	for _, test := range []struct {
		name, link string
		objects    []state.Object
	}{
		{"bridge", "br0", []state.Object{bridging.Bridge{Name: "br0"}, bridging.Gateway{Link: "br0", Prefixes: statetest.Prefixes("fd00::1/64")}}},
		{"host end", statetest.Owner("c").HostLink(), []state.Object{
			bridging.Bridge{Name: "fwvx1"}, // in place of the network's device
			state.Veth{Owner: statetest.Owner("c"), MAC: statetest.Owner("c").MAC()},
			vxlan.HostEnd{Owner: statetest.Owner("c"), Network: "fwvx1", Gateways: []netip.Addr{netip.MustParseAddr("fd00::1")},
				Addresses: []netip.Addr{netip.MustParseAddr("fd00::2")}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			k, container := statetest.NewPair(t)
			testnet.Sh(t, "ip", "link", "add", "other", "up", "type", "bridge")
			testnet.Sh(t, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
			statetest.Apply(t, k, test.objects...)
			for _, o := range test.objects {
				statetest.Verifies(t, container, o)
			}
			for link, want := range map[string]string{"all": "1", "default": "1", "lo": "1", "other": "1", test.link: "0"} {
				if got := strings.TrimSpace(testnet.Sh(t, "cat", "/proc/sys/net/ipv6/conf/"+link+"/disable_ipv6")); got != want {
					t.Errorf("disable_ipv6 of %s is %s, want %s", link, got, want)
				}
			}
		})
	}
}
