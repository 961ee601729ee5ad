package blueprint

import (
	"fmt"
	"net/netip"
)

// unusable are prefixes of which no address can be a container's (RFC 6890, RFC 4291).
var unusable = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
	{netip.MustParsePrefix("::/127"), "unspecified and loopback"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

// checkUsable refuses a subnet that has such addresses in it. Whatever the driver, no packet would ever arrive there.
func checkUsable(subnet netip.Prefix) error {
	for _, u := range unusable {
		if u.prefix.Overlaps(subnet) {
			return fmt.Errorf("invalid subnet %s: it overlaps %s, whose addresses are %s: choose one like 10.5.0.0/24 or fd00:5::/64",
				subnet, u.prefix, u.what)
		}
	}
	return nil
}
