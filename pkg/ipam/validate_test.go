package ipam

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types/create"
)

// TestUnusable: each entry that no kernel can have, as of an older version of CNI as of the newest, and what is said of it.
func TestUnusable(t *testing.T) {
	for _, tt := range []struct{ keys, want string }{
		{`"ips": [{"address": "::ffff:10.8.0.2/120"}]`, `ips[0].address ::ffff:10.8.0.2/120 is of IPv4 in the form of IPv6: it has to be 10.8.0.2`},
		{`"ips": [{}]`, `ips[0] has no address`},
		{`"ips": [{"address": "0.0.0.0/24"}]`, `ips[0].address 0.0.0.0 is not one of an interface`},
		{`"ips": [{"address": "224.0.0.9/24"}]`, `ips[0].address 224.0.0.9 is not one of an interface`},
		{`"ips": [{"address": "255.255.255.255/32"}]`, `ips[0].address 255.255.255.255 is not one of an interface`},
		{`"ips": [{"address": "10.8.0.2/24"}, {"address": "ff02::1/64"}]`, `ips[1].address ff02::1 is not one of an interface`},
		{`"ips": [{"address": "10.8.0.2/24", "gateway": "fd00::1"}]`, `ips[0].gateway fd00::1 is not of the family of 10.8.0.2`},
		{`"ips": [{"address": "fd00::2/64", "gateway": "10.8.0.1"}]`, `ips[0].gateway 10.8.0.1 is not of the family of fd00::2`},
		{`"ips": [{"address": "10.8.0.2/24", "gateway": "224.0.0.1"}]`, `ips[0].gateway 224.0.0.1 is not the address of a router`},
		{`"ips": [{"address": "10.8.0.2/24"}], "routes": [{"gw": "10.8.0.1"}]`, `routes[0] has no dst`},
		{`"ips": [{"address": "10.8.0.2/24"}], "routes": [null]`, `routes hold a null`},
		{`"ips": [{"address": "10.8.0.2/24"}], "routes": [{"dst": "::ffff:0.0.0.0/96"}]`, `routes[0].dst ::ffff:0.0.0.0/96 is of IPv4 in the form of IPv6: it has to be 0.0.0.0`},
		{`"ips": [{"address": "10.8.0.2/24"}], "routes": [{"dst": "::/0", "gw": "10.8.0.1"}]`, `routes[0].gw 10.8.0.1 is not of the family of ::`},
		{`"ips": [{"address": "10.8.0.2/24"}], "routes": [{"dst": "0.0.0.0/0", "mtu": -1}]`, `routes[0].mtu is -1, not one of 0 to 4294967295`},
		{`"ips": [{"address": "10.8.0.2/24"}], "routes": [{"dst": "0.0.0.0/0", "table": -1}]`, `routes[0].table is -1, not one of 0 to 4294967295`},
		{`"ips": [{"address": "10.8.0.2/24"}], "routes": [{"dst": "0.0.0.0/0", "scope": 256}]`, `routes[0].scope is 256, not one of 0 to 255`},
		{`"ips": []`, `it has no address`},
	} {
		for _, version := range []string{"0.4.0", "1.0.0", "1.1.0"} {
			t.Run(version+" "+tt.keys, func(t *testing.T) {
				_, err := leaseOf(t, fmt.Sprintf(`{"cniVersion": %q, %s}`, version, tt.keys))
				if err == nil || err.Error() != tt.want {
					t.Errorf("got %v, want %s", err, tt.want)
				}
			})
		}
	}
}

// TestUnusableOfOldVersions has what CNI 0.2.0 keeps in other places.
func TestUnusableOfOldVersions(t *testing.T) {
	for _, tt := range []struct{ result, want string }{
		{`{"cniVersion": "0.2.0", "ip4": {"ip": "10.8.0.2/24", "routes": [null]}}`, `routes[0] has no dst`},
		{`{"cniVersion": "0.2.0", "ip6": {"ip": "fd00::2/64", "routes": [null]}}`, `routes[0] has no dst`},
		{`{"cniVersion": "0.2.0", "ip4": {"ip": "10.8.0.2/24", "routes": [{"gw": "10.8.0.1"}]}}`, `routes[0] has no dst`},
		{`{"cniVersion": "0.2.0", "ip4": {"routes": []}}`, `ips[0] has no address`},
	} {
		t.Run(tt.result, func(t *testing.T) {
			_, err := leaseOf(t, tt.result)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// TestUnspecified: no gateway is also written as the unspecified address.
func TestUnspecified(t *testing.T) {
	lease, err := leaseOf(t, `{"cniVersion": "1.0.0", "ips": [{"address": "10.8.0.2/24", "gateway": "0.0.0.0"}, {"address": "fd00::2/64", "gateway": "::"}],
		"routes": [{"dst": "10.9.0.0/16", "gw": "0.0.0.0"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, ip := range lease.IPs {
		if ip.Gateway.IsValid() {
			t.Errorf("%s has gateway %s", ip.Prefix, ip.Gateway)
		}
	}
	if r := lease.Routes[0]; r.GW.IsValid() || r.Scope == nil || *r.Scope != 253 {
		t.Errorf("route %+v is not one on the link", r)
	}
}

func TestMasked(t *testing.T) {
	lease := Lease{Routes: []Route{{Dst: netip.MustParsePrefix("10.7.1.5/16")}, {Dst: netip.MustParsePrefix("fd07::5/64")}}}
	got := lease.Masked().Routes
	if got[0].Dst.String() != "10.7.0.0/16" || got[1].Dst.String() != "fd07::/64" {
		t.Errorf("got %v", got)
	}
	if lease.Routes[0].Dst.String() != "10.7.1.5/16" {
		t.Error("the lease itself was changed")
	}
}

func leaseOf(t *testing.T, printed string) (Lease, error) {
	t.Helper()
	result, err := create.CreateFromBytes([]byte(printed))
	if err != nil {
		t.Fatal(err)
	}
	return fromResult(result)
}

// TestGeneratedResults answers with what a plugin might print, a few thousand times: a lease that a kernel can have, or an
// error, and never a panic.
func TestGeneratedResults(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for range 5000 {
		printed := generated(random)
		decoded, err := create.CreateFromBytes([]byte(printed))
		if err != nil {
			continue
		}
		lease, err := fromResult(decoded)
		if err != nil {
			continue
		}
		accepted++
		wantSound(t, lease, printed)
	}
	if accepted < 50 {
		t.Errorf("%d of the results were accepted: the generator has nothing that is sound", accepted)
	}
}

// generated is a result in which each place has a sound value or one of those that plugins were seen to give.
func generated(random *rand.Rand) string {
	one := func(of ...string) string { return of[random.IntN(len(of))] }
	addresses := []string{`"10.8.0.2/24"`, `"10.8.0.2/24"`, `"fd00::2/64"`, `"10.8.0.2/32"`, `"::ffff:10.8.0.2/120"`, `"::ffff:10.8.0.2/24"`, `"0.0.0.0/0"`, `"::/0"`,
		`"224.0.0.1/4"`, `"ff02::1/128"`, `"fe80::1/64"`, `"255.255.255.255/32"`, `null`, `""`, `"10.8.0.2"`, `5`}
	gateways := []string{`"10.8.0.1"`, `"fd00::1"`, `"fe80::1"`, `"0.0.0.0"`, `"::"`, `"::ffff:10.8.0.1"`, `"224.0.0.1"`, `null`, `""`, `"x"`}
	numbers := []string{`0`, `0`, `0`, `1500`, `-1`, `4294967295`, `4294967296`, `null`}
	keys := func(of ...string) string {
		var some []string
		for _, key := range of {
			if random.IntN(3) > 0 {
				some = append(some, key)
			}
		}
		return "{" + strings.Join(some, ", ") + "}"
	}
	list := func(entry func() string) string {
		var all []string
		for range random.IntN(4) {
			all = append(all, one(entry(), entry(), entry(), entry(), entry(), `null`, `{}`))
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	route := func() string {
		return keys(`"dst": `+one(addresses...), `"gw": `+one(gateways...), `"mtu": `+one(numbers...), `"advmss": `+one(numbers...),
			`"priority": `+one(numbers...), `"table": `+one(numbers...), `"scope": `+one(numbers...))
	}
	ip := func() string {
		return keys(`"address": `+one(addresses...), `"address": `+one(addresses...), `"gateway": `+one(gateways...), `"version": "4"`, `"interface": `+one(`0`, `-1`, `7`))
	}
	if random.IntN(4) == 0 {
		family := func() string {
			return keys(`"ip": `+one(addresses...), `"gateway": `+one(gateways...), `"routes": `+list(route))
		}
		return fmt.Sprintf(`{"cniVersion": %q, "ip4": %s, "ip6": %s}`, one("0.1.0", "0.2.0"), one(family(), `null`), one(family(), `null`))
	}
	return fmt.Sprintf(`{"cniVersion": %q, "interfaces": %s, "ips": %s, "routes": %s}`, one("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"),
		list(func() string { return `{"name": "eth0"}` }), list(ip), list(route))
}

// wantSound expects addresses, gateways and routes that the kernel's interfaces have a form for, and that another reader of
// the result can read.
func wantSound(t *testing.T, lease Lease, printed string) {
	t.Helper()
	for _, ip := range lease.IPs {
		addr := ip.Prefix.Addr()
		if !ip.Prefix.IsValid() || addr.Is4In6() || addr.IsUnspecified() || addr.IsMulticast() {
			t.Errorf("address %s of %s", ip.Prefix, printed)
		}
		if ip.Gateway.IsValid() && (ip.Gateway.Is4() != addr.Is4() || ip.Gateway.IsUnspecified() || ip.Gateway.IsMulticast()) {
			t.Errorf("gateway %s of %s", ip.Gateway, printed)
		}
	}
	for _, r := range lease.Masked().Routes {
		if !r.Dst.IsValid() || r.Dst.Addr().Is4In6() || r.Dst != r.Dst.Masked() {
			t.Errorf("dst %s of %s", r.Dst, printed)
		}
		if r.GW.IsValid() && r.GW.Is4() != r.Dst.Addr().Is4() {
			t.Errorf("gw %s of %s", r.GW, printed)
		}
		if r.MTU < 0 || r.AdvMSS < 0 || r.Priority < 0 || valueOf(r.Table) < 0 || valueOf(r.Scope) < 0 {
			t.Errorf("route %+v of %s", r, printed)
		}
	}
	again := resultOf(lease)
	text, err := json.Marshal(again)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := create.CreateFromBytes(text); err != nil {
		t.Errorf("%s of %s cannot be read: %v", text, printed, err)
	}
}
