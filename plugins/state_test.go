package plugins

import (
	"net"
	"regexp"
	"slices"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"
)

// elements are the owners that nftables elements of the host carry, each once.
func (a attachment) elements(t *testing.T) []string {
	t.Helper()
	owned := regexp.MustCompile(`comment "(fairway [^"]+)"`)
	var found []string
	for _, match := range owned.FindAllStringSubmatch(a.host.Sh(t, "nft", "list", "ruleset"), -1) {
		found = append(found, match[1])
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// ipOf is an address of a result's first interface. An empty gateway is none.
func ipOf(t *testing.T, prefix, gateway string) *types100.IPConfig {
	t.Helper()
	addr, subnet, err := net.ParseCIDR(prefix)
	if err != nil {
		t.Fatal(err)
	}
	if v4 := addr.To4(); v4 != nil {
		addr = v4
	}
	ip := &types100.IPConfig{Interface: types100.Int(0), Address: net.IPNet{IP: addr, Mask: subnet.Mask}}
	if gateway != "" {
		ip.Gateway = net.ParseIP(gateway)
	}
	return ip
}
