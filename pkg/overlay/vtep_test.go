package overlay

import (
	"net/netip"
	"testing"
)

// TestVTEPMAC holds the addresses, which have to stay over releases: hosts of two releases share a network.
func TestVTEPMAC(t *testing.T) {
	for _, tt := range []struct {
		vni  uint32
		vtep string
		want string
	}{
		{4096, "192.0.2.11", "aa:08:6c:45:e0:33"},
		{4096, "::ffff:192.0.2.11", "aa:08:6c:45:e0:33"},
		{4096, "192.0.2.12", "8a:f6:ad:96:eb:2d"},
		{4097, "192.0.2.11", "2e:20:e2:74:e0:26"},
		{4096, "2001:db8::11", "7e:42:d4:92:45:c3"},
	} {
		got := VTEPMAC(tt.vni, netip.MustParseAddr(tt.vtep))
		if got.String() != tt.want {
			t.Errorf("VTEPMAC(%d, %s): got %s, want %s", tt.vni, tt.vtep, got, tt.want)
		}
		if got[0]&3 != 2 {
			t.Errorf("VTEPMAC(%d, %s): %s is not locally administered and unicast", tt.vni, tt.vtep, got)
		}
	}
}

func TestLinkName(t *testing.T) {
	if got, want := LinkName(maxVNI), "fwvx16777215"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestOverhead(t *testing.T) {
	for vtep, want := range map[string]int{"192.0.2.11": 50, "::ffff:192.0.2.11": 50, "2001:db8::11": 70} {
		if got := Overhead(netip.MustParseAddr(vtep)); got != want {
			t.Errorf("Overhead(%s): got %d, want %d", vtep, got, want)
		}
	}
}

func TestGateway(t *testing.T) {
	for block, want := range map[string]string{"10.42.1.0/24": "10.42.1.0", "fd42:0:0:1::/64": "fd42:0:0:1::", "10.42.9.7/32": "10.42.9.7"} {
		if got := Gateway(netip.MustParsePrefix(block)); got.String() != want {
			t.Errorf("Gateway(%s): got %s, want %s", block, got, want)
		}
	}
}
