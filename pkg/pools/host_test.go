package pools

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// TestVPN: the ways that a VPN takes are nobody's subnet, and what else is there is kept off.
func TestVPN(t *testing.T) {
	testnet.NewHost(t)
	for _, command := range []string{
		"link add uplink up type veth peer name far", "link set far up", "address add 192.0.2.2/24 dev uplink", "route add default via 192.0.2.1",
		"tuntap add tun0 mode tun", "link set tun0 up", "address add 10.8.0.6 peer 10.8.0.5 dev tun0",
		"route add 0.0.0.0/1 via 10.8.0.5", "route add 128.0.0.0/1 dev tun0", "route add unreachable 10.0.0.0/8", "route add 172.17.3.0/24 via 10.8.0.5",
		"route add 172.16.0.0/12 nexthop via 192.0.2.1 nexthop via 192.0.2.3",
	} {
		testnet.Sh(t, "ip", strings.Fields(command)...)
	}
	h, err := ReadHost()
	if err != nil {
		t.Fatal(err)
	}
	h.Taken = slices.DeleteFunc(h.Taken, isNameserver)
	if free, err := Next4(h.Taken); err != nil || free.String() != "172.18.0.0/16" {
		t.Errorf("next pool: got %s, %v, want the first that has no route of its own", free, err)
	}
	for subnet, by := range map[string]string{
		"10.9.0.0/16": "", "10.8.0.0/24": "the address 10.8.0.6/32 of tun0", "172.17.0.0/16": "the route 172.17.3.0/24 via 10.8.0.5 dev tun0",
		"0.0.0.0/1": "the address", "192.0.2.128/25": "the address 192.0.2.2/24 of uplink",
	} {
		got := Overlap(netip.MustParsePrefix(subnet), h.Taken)
		if got == nil && by != "" || got != nil && (by == "" || !strings.HasPrefix(got.By, by)) {
			t.Errorf("%s: got %v, want %q", subnet, got, by)
		}
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
		{Prefix: netip.MustParsePrefix("172.17.0.53/32"), By: "the nameserver 172.17.0.53"},
		{Prefix: netip.MustParsePrefix("fd00::53/128"), By: "the nameserver fd00::53"},
	}
	if !slices.Equal(h.Taken, want) {
		t.Errorf("got %v, want %v", h.Taken, want)
	}
}
