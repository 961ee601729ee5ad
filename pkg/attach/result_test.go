package attach

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// prevResult is of a chain in which another plugin made an interface with an address of its own.
const prevResult = `{
	"cniVersion": "1.0.0",
	"interfaces": [
		{"name": "br0", "mac": "02:00:00:00:00:01"},
		{"name": "veth1", "mac": "02:00:00:00:00:02"},
		{"name": "eth0", "mac": "02:00:00:00:00:03", "sandbox": "/run/netns/c1"},
		{"name": "tun0", "mac": "02:00:00:00:00:04", "sandbox": "/run/netns/c1"}
	],
	"ips": [
		{"address": "10.1.0.2/24", "gateway": "10.1.0.1", "interface": 2},
		{"address": "10.9.0.2/24", "interface": 3},
		{"address": "fd01::2/64"}
	],
	"routes": [{"dst": "0.0.0.0/0"}]
}`

func recorded(t *testing.T, ifname string) (Request, Lease) {
	t.Helper()
	stdin := `{"cniVersion": "1.0.0", "name": "net", "prevResult": ` + prevResult + `}`
	env := Env{Command: "CHECK", ContainerID: "c1", IfName: ifname, Netns: "/run/netns/c1"}
	c := &call{env: env}
	if err := c.read(strings.NewReader(stdin)); err != nil {
		t.Fatal(err)
	}
	prev, err := c.prevResult()
	if err != nil {
		t.Fatal(err)
	}
	lease, err := c.recordedLease(prev)
	if err != nil {
		t.Fatal(err)
	}
	return c.request(prev), lease
}

func TestRecorded(t *testing.T) {
	request, lease := recorded(t, "eth0")
	wantRequest := Request{
		Owner:       state.Owner{Network: "net", ContainerID: "c1", IfName: "eth0"},
		RecordedMAC: net.HardwareAddr{2, 0, 0, 0, 0, 3}, RecordedHostLink: "veth1",
	}
	if diff := cmp.Diff(wantRequest, request); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	wantLease := Lease{
		IPs: []IP{
			{Prefix: netip.MustParsePrefix("10.1.0.2/24"), Gateway: netip.MustParseAddr("10.1.0.1")},
			{Prefix: netip.MustParsePrefix("fd01::2/64")},
		},
		Routes: []Route{{Dst: netip.MustParsePrefix("0.0.0.0/0")}},
	}
	if diff := cmp.Diff(wantLease, lease, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
		t.Errorf("lease (-want +got):\n%s", diff)
	}
}

// TestRecordedOnTheHostOnly takes no interface of the host for the container's.
func TestRecordedOnTheHostOnly(t *testing.T) {
	request, lease := recorded(t, "br0")
	if request.RecordedMAC != nil {
		t.Errorf("MAC: got %s, want none", request.RecordedMAC)
	}
	if len(lease.IPs) != 1 {
		t.Errorf("addresses: got %v, want the one without an interface", lease.IPs)
	}
}
