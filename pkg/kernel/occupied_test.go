package kernel

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOccupies(t *testing.T) {
	via := netip.MustParseAddr("192.0.2.1")
	for _, tt := range []struct {
		name, dst, subnet string
		route             RouteEntry
		tunnel, want      bool
	}{
		{"default", "0.0.0.0/0", "10.43.0.0/16", RouteEntry{}, false, false},
		{"elsewhere", "10.44.0.0/16", "10.43.0.0/16", RouteEntry{}, false, false},
		{"another family", "::/1", "10.43.0.0/16", RouteEntry{}, false, false},
		{"half of the Internet by a next hop", "0.0.0.0/1", "10.43.0.0/16", RouteEntry{Via: via}, false, false},
		{"half of the Internet by a tunnel", "0.0.0.0/1", "10.43.0.0/16", RouteEntry{}, true, false},
		{"summary route", "10.0.0.0/8", "10.43.0.0/16", RouteEntry{Via: via}, false, false},
		{"unreachable private range", "10.0.0.0/8", "10.43.0.0/16", RouteEntry{Type: unix.RTN_UNREACHABLE}, false, false},
		{"blackhole", "10.0.0.0/8", "10.43.0.0/16", RouteEntry{Type: unix.RTN_BLACKHOLE}, false, false},
		{"wide segment", "10.0.0.0/8", "10.43.0.0/16", RouteEntry{}, false, true},
		{"subnet of a tunnel", "10.0.0.0/8", "10.43.0.0/16", RouteEntry{Protocol: unix.RTPROT_KERNEL}, true, true},
		{"the same by a next hop", "10.43.0.0/16", "10.43.0.0/16", RouteEntry{Via: via}, false, true},
		{"a part by a next hop", "10.43.7.0/24", "10.43.0.0/16", RouteEntry{Via: via}, false, true},
		{"a part by a tunnel", "10.43.7.0/24", "10.43.0.0/16", RouteEntry{}, true, true},
		{"a part that is unreachable", "10.43.7.0/24", "10.43.0.0/16", RouteEntry{Type: unix.RTN_UNREACHABLE}, false, true},
		{"IPv6 summary", "fd00::/8", "fd42::/48", RouteEntry{Via: netip.MustParseAddr("fe80::1")}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.route.Type == 0 {
				tt.route.Type = unix.RTN_UNICAST
			}
			tt.route.Dst = netip.MustParsePrefix(tt.dst)
			if got := tt.route.Occupies(netip.MustParsePrefix(tt.subnet), tt.tunnel); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
}
