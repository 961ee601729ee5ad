package ipam

import (
	"encoding/json"
	"net/netip"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/fairway-cni/fairway/pkg/hostlocal"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const result = `{
	"cniVersion": "1.1.0",
	"ips": [{"address": "10.1.0.2/24", "gateway": "10.1.0.1"}, {"address": "fd01::2/64"}],
	"routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.9", "mtu": 1400, "advmss": 1300, "priority": 7, "table": 100, "scope": 0}, {"dst": "::/0"}],
	"dns": {"nameservers": ["10.1.0.1"]}
}`

func parsed(t *testing.T) *types100.Result {
	t.Helper()
	r := &types100.Result{}
	if err := json.Unmarshal([]byte(result), r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFromResult(t *testing.T) {
	table, scope := 100, 0
	want := Lease{
		IPs: []IP{
			{Prefix: netip.MustParsePrefix("10.1.0.2/24"), Gateway: netip.MustParseAddr("10.1.0.1")},
			{Prefix: netip.MustParsePrefix("fd01::2/64")},
		},
		Routes: []Route{
			{
				Dst: netip.MustParsePrefix("0.0.0.0/0"), GW: netip.MustParseAddr("10.1.0.9"),
				MTU: 1400, AdvMSS: 1300, Priority: 7, Table: &table, Scope: &scope,
			},
			{Dst: netip.MustParsePrefix("::/0")},
		},
	}
	want.DNS.Nameservers = []string{"10.1.0.1"}
	got, err := FromResult(parsed(t))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Errorf("lease (-want +got):\n%s", diff)
	}
}

// TestInto writes what FromResult has read.
func TestInto(t *testing.T) {
	want := parsed(t)
	lease, err := FromResult(want)
	if err != nil {
		t.Fatal(err)
	}
	got := resultOf(lease)
	texts := [2]string{}
	for i, r := range []*types100.Result{want, got} {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(text)
	}
	if diff := cmp.Diff(texts[0], texts[1]); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}

func resultOf(lease Lease) *types100.Result {
	r := &types100.Result{CNIVersion: "1.1.0"}
	lease.Into(r)
	return r
}

func TestFor(t *testing.T) {
	for _, tt := range []struct {
		name string
		want Plugin
	}{
		{"", noAddresses{}},
		{"host-local", HostLocal{Request{Type: "host-local"}}},
		{"dhcp", delegate{Request{Type: "dhcp"}}},
	} {
		got := For(Request{Type: tt.name})
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(delegate{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestReleaseKeepsWhatWasThere: an ADD that fails gives back what it got, and not what the owner had before.
func TestReleaseKeepsWhatWasThere(t *testing.T) {
	dir := t.TempDir()
	stdin := []byte(`{"cniVersion": "1.1.0", "name": "net", "ipam": {"subnet": "10.1.0.0/24", "dataDir": "` + dir + `"}}`)
	owner := Owner{ContainerID: "c1", IfName: "eth0"}
	h := HostLocal{Request{Stdin: stdin, Owner: owner}}
	_, release, err := h.Add(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, again, err := h.Add(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conf, err := hostlocal.Parse(stdin, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := again(); err != nil || hostlocal.NewStore(conf).Check(t.Context(), owner, nil) != nil {
		t.Errorf("release of the second ADD (error %v) took the address of the first", err)
	}
	if err := release(); err != nil || hostlocal.NewStore(conf).Check(t.Context(), owner, nil) == nil {
		t.Errorf("release of the first ADD (error %v) left its address", err)
	}
}
