package pools

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestMain(m *testing.M) { testnet.Run(m) }

func TestReadHost(t *testing.T) {
	testnet.NewHost(t)
	testnet.Sh(t, "ip", "link", "add", "uplink", "up", "type", "veth", "peer", "name", "far")
	testnet.Sh(t, "ip", "link", "set", "far", "up")
	testnet.Sh(t, "ip", "address", "add", "10.1.2.3/24", "dev", "uplink")
	testnet.Sh(t, "ip", "address", "add", "fd01::3/64", "dev", "uplink", "nodad")
	testnet.Sh(t, "ip", "route", "add", "default", "via", "10.1.2.1")
	testnet.Sh(t, "ip", "route", "add", "172.16.0.0/12", "via", "10.1.2.2")
	testnet.Sh(t, "ip", "route", "add", "10.9.0.0/16", "dev", "uplink", "table", "7")
	h, err := ReadHost()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, taken := range h.Taken {
		if addr := taken.Prefix.Addr(); !isNameserver(taken) && !addr.IsLinkLocalUnicast() {
			got = append(got, taken.Prefix.String()+": "+taken.By)
		}
	}
	slices.Sort(got)
	want := []string{
		"10.1.2.0/24: the address 10.1.2.3/24 of uplink",
		"10.1.2.0/24: the route 10.1.2.0/24 dev uplink",
		"10.9.0.0/16: the route 10.9.0.0/16 dev uplink",
		"172.16.0.0/12: the route 172.16.0.0/12 via 10.1.2.2 dev uplink",
		"fd01::/64: the address fd01::3/64 of uplink",
		"fd01::/64: the route fd01::/64 dev uplink",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("taken (-want +got):\n%s", diff)
	}
	if h.Links["uplink"] != "veth" || h.Identity == "" {
		t.Errorf("got links %v, identity %q", h.Links, h.Identity)
	}
	if free, err := Next4(h.Taken); err != nil || free.Addr().Is4() && free.Addr().As4()[0] == 172 {
		t.Errorf("next pool: got %s, %v, want one outside 172.16.0.0/12", free, err)
	}
}

func isNameserver(t Taken) bool { return len(t.By) > 14 && t.By[:14] == "the nameserver" }

func TestNameservers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	text := "# nameserver 9.9.9.9\nnameserver 172.17.0.53\nnameserver fe80::1%eth0\nnameserver 127.0.0.53\nnameserver\nnameserver x\nnameserver fd00::53 # two\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var h Host
	h.readNameservers(file)
	h.readNameservers(filepath.Join(t.TempDir(), "absent"))
	want := []Taken{
		{netip.MustParsePrefix("172.17.0.53/32"), "the nameserver 172.17.0.53"},
		{netip.MustParsePrefix("fd00::53/128"), "the nameserver fd00::53"},
	}
	if !slices.Equal(h.Taken, want) {
		t.Errorf("got %v, want %v", h.Taken, want)
	}
}
