package attach

import (
	"bytes"
	"encoding/json"
	"net"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"
)

// TestDocument holds what is printed against what the library prints.
func TestDocument(t *testing.T) {
	prefix := func(text string) net.IPNet {
		ip, n, err := net.ParseCIDR(text)
		if err != nil {
			t.Fatal(err)
		}
		return net.IPNet{IP: ip, Mask: n.Mask}
	}
	zero, two := 0, 2
	for _, test := range []struct {
		name   string
		result types100.Result
	}{
		{"empty", types100.Result{}},
		{"version", types100.Result{CNIVersion: "1.1.0"}},
		{"interfaces", types100.Result{CNIVersion: "1.0.0", Interfaces: []*types100.Interface{
			{Name: "br0", Mac: "02:00:00:00:00:01"}, {Name: "a<b>\"&\u2028", Mtu: 1500, Sandbox: "/run/netns/c", SocketPath: "/s", PciID: "p"}, {},
		}}},
		{"addresses", types100.Result{IPs: []*types100.IPConfig{
			{Address: prefix("10.0.0.2/24"), Gateway: net.ParseIP("10.0.0.1"), Interface: &zero},
			{Address: prefix("fd00::2/64"), Gateway: net.IP{10, 0, 0, 1}, Interface: &two},
			{Address: prefix("::ffff:10.0.0.2/120")},
		}}},
		{"routes", types100.Result{Routes: []*types.Route{
			{Dst: prefix("0.0.0.0/0"), GW: net.ParseIP("10.0.0.1")}, {Dst: prefix("::/0"), GW: net.ParseIP("fd00::1"), MTU: 1400, AdvMSS: 1300, Priority: 5},
			{Dst: prefix("10.0.0.0/8"), Table: &two, Scope: &zero},
		}}},
		{"name servers", types100.Result{DNS: types.DNS{Nameservers: []string{"10.0.0.1"}, Domain: "d", Search: []string{"s"}, Options: []string{"o"}}}},
		{"domain", types100.Result{DNS: types.DNS{Domain: "d"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var ours, library bytes.Buffer
			if err := printDocument(&test.result, &ours); err != nil {
				t.Fatal(err)
			}
			if err := test.result.PrintTo(&library); err != nil {
				t.Fatal(err)
			}
			var got, want any
			if err := json.Unmarshal(ours.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(library.Bytes(), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-library +ours):\n%s", diff)
			}
		})
	}
}
