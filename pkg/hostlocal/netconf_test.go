package hostlocal

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func TestParse(t *testing.T) {
	v4 := Range{Subnet: prefix("10.1.0.0/24"), Start: addr("10.1.0.1"), End: addr("10.1.0.254"), Gateway: addr("10.1.0.1")}
	v6 := Range{Subnet: prefix("fd00::/64"), Start: addr("fd00::1"), End: addr("fd00::ffff:ffff:ffff:ffff"), Gateway: addr("fd00::1")}
	narrow := Range{Subnet: prefix("10.2.0.0/16"), Start: addr("10.2.3.0"), End: addr("10.2.3.9"), Gateway: addr("10.2.255.254")}
	linkLocal := v6
	linkLocal.Gateway = addr("fe80::1")
	scope, table := 253, 100
	tests := []struct {
		name, stdin, args string
		want              Config
	}{
		{
			name:  "one subnet in ipam itself",
			stdin: `{"name": "n", "ipam": {"type": "host-local", "subnet": "10.1.0.0/24", "other": [1]}}`,
			want:  Config{Network: "n", DataDir: "/var/lib/cni/networks", Ranges: []RangeSet{{v4}}},
		},
		{
			name: "order: runtime, ipam, list",
			stdin: `{"name": "n", "cniVersion": "1.0.0", "ipam": {"subnet": "10.1.0.0/24", "ranges": [[{"subnet": "fd00::/64"}]], "dataDir": "/d", "resolvConf": "/r"},
				"runtimeConfig": {"ipRanges": [[{"subnet": "10.2.0.0/16", "rangeStart": "10.2.3.0", "rangeEnd": "::ffff:10.2.3.9", "gateway": "10.2.255.254"}]]}}`,
			want: Config{Network: "n", DataDir: "/d", ResolvConf: "/r", Ranges: []RangeSet{{narrow}, {v4}, {v6}}},
		},
		{
			name:  "a gateway outside its subnet",
			stdin: `{"name": "n", "ipam": {"subnet": "fd00::/64", "gateway": "fe80::1"}}`,
			want:  Config{Network: "n", DataDir: DefaultDataDir, Ranges: []RangeSet{{linkLocal}}},
		},
		{
			name: "routes",
			stdin: `{"name": "n", "ipam": {"subnet": "10.1.0.0/24", "routes": [{"dst": "0.0.0.0/0"},
				{"dst": "10.9.0.0/16", "gw": "10.1.0.7", "mtu": 1400, "advmss": 1360, "priority": 5, "table": 100, "scope": 253}]}}`,
			want: Config{Network: "n", DataDir: DefaultDataDir, Ranges: []RangeSet{{v4}}, Routes: []Route{
				{Dst: prefix("0.0.0.0/0")},
				{Dst: prefix("10.9.0.0/16"), GW: addr("10.1.0.7"), MTU: 1400, AdvMSS: 1360, Priority: 5, Table: &table, Scope: &scope},
			}},
		},
		{
			name:  "unknown and empty CNI_ARGS",
			stdin: `{"name": "n", "args": null, "ipam": {"subnet": "10.1.0.0/24"}}`,
			args:  "IgnoreUnknown=1;IP=;MAC=;K8S_POD_NAME=a;",
			want:  Config{Network: "n", DataDir: DefaultDataDir, Ranges: []RangeSet{{v4}}},
		},
		{
			name:  "requests add up over range sets",
			stdin: `{"name": "n", "ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]}, "runtimeConfig": {"ips": ["fd00::5/64", "10.1.0.5"]}}`,
			args:  "IP=10.1.0.5/8",
			want:  Config{Network: "n", DataDir: DefaultDataDir, Ranges: []RangeSet{{v4}, {v6}}, Requested: []netip.Addr{addr("10.1.0.5"), addr("fd00::5")}},
		},
		{
			name:  "args override CNI_ARGS",
			stdin: `{"name": "n", "ipam": {"subnet": "10.1.0.0/24"}, "args": {"cni": {"ips": ["10.1.0.6"]}, "labels": 1}}`,
			args:  "IP=10.1.0.5",
			want:  Config{Network: "n", DataDir: DefaultDataDir, Ranges: []RangeSet{{v4}}, Requested: []netip.Addr{addr("10.1.0.6")}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse([]byte(tt.stdin), tt.args)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, byString); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	// In the short form, keys are those of ipam.
	keys := func(s string) string { return `{"name": "n", "cniVersion": "1.1.0", "ipam": {` + s + `}}` }
	tests := []struct {
		name, stdin, args, want string
	}{
		{"no name", `{"ipam": {"subnet": "10.1.0.0/24"}}`, "", "name is missing: name the network"},
		{"a path", `{"name": "../etc", "ipam": {"subnet": "10.1.0.0/24"}}`, "", `name "../etc": use letters, digits, '_', '.' and '-', beginning with a letter or digit`},
		{"our directory", `{"name": ".fairway", "ipam": {"subnet": "10.1.0.0/24"}}`, "", `name ".fairway": use letters, digits, '_', '.' and '-', beginning with a letter or digit`},
		{"no ipam", `{"name": "n"}`, "", `the network configuration has no key ipam: add "ipam": {"type": "host-local", "subnet": …}`},
		{"no range", keys(``), "", "ipam has no range: add ipam.subnet or ipam.ranges"},
		{"empty set", keys(`"ranges": [[]]`), "", "ipam.ranges[0] has no range: add one with a subnet, or remove the empty list"},
		{"no subnet", keys(`"ranges": [[{"rangeStart": "10.1.0.5"}]]`), "", "ipam.ranges[0][0].subnet is missing: add a subnet like 10.1.0.0/24"},
		{"no prefix", keys(`"subnet": "10.1.0.0"`), "", `ipam.subnet "10.1.0.0" is not a subnet: write one like 10.1.0.0/24 or fd00::/64`},
		{"mapped", keys(`"subnet": "::ffff:10.1.0.0/120"`), "", `ipam.subnet "::ffff:10.1.0.0/120" is not a subnet: write one like 10.1.0.0/24 or fd00::/64`},
		{"host bits", keys(`"subnet": "10.1.0.5/24"`), "", "ipam.subnet 10.1.0.5/24 has host bits set: write 10.1.0.0/24"},
		{"no address", keys(`"subnet": "10.1.0.0/24", "gateway": "fe80::1%eth0"`), "", `ipam.gateway "fe80::1%eth0" is not an IP address: write one like 10.1.0.5 or fd00::5`},
		{"start outside", keys(`"ranges": [[{"subnet": "10.1.0.0/24", "rangeStart": "fd00::1"}]]`), "", "ipam.ranges[0][0].rangeStart fd00::1 lies outside its subnet 10.1.0.0/24: choose an address of the subnet, or leave it out"},
		{"reversed", keys(`"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.5"`), "", "ipam.rangeEnd 10.1.0.5 comes before rangeStart 10.1.0.9: exchange them"},
		{"gateway alone", keys(`"subnet": "10.1.0.0/32", "gateway": "10.1.0.0"`), "", "ipam (10.1.0.0-10.1.0.0) has no address besides its gateway: widen the range or choose another gateway"},
		{"overlap of sets", keys(`"ranges": [[{"subnet": "10.1.0.0/16"}], [{"subnet": "10.1.2.0/24"}]]`), "",
			"ipam.ranges[1][0].subnet 10.1.2.0/24 (10.1.2.1-10.1.2.254) overlaps ipam.ranges[0][0].subnet 10.1.0.0/16 (10.1.0.1-10.1.255.254): give each range addresses of its own"},
		{"overlap in a set", keys(`"ranges": [[{"subnet": "fd00::/64"}, {"subnet": "fd00::/64", "rangeStart": "fd00::9"}]]`), "",
			"ipam.ranges[0][1].subnet fd00::/64 (fd00::9-fd00::ffff:ffff:ffff:ffff) overlaps ipam.ranges[0][0].subnet fd00::/64 (fd00::1-fd00::ffff:ffff:ffff:ffff): give each range addresses of its own"},
		{"two families in a set", keys(`"ranges": [[{"subnet": "10.1.0.0/24"}, {"subnet": "fd00::/64"}]]`), "",
			"ipam.ranges[0][1].subnet fd00::/64 is of another address family than 10.1.0.0/24: give each family a range set of its own"},
		{"two addresses in an old version", `{"name": "n", "cniVersion": "0.2.0", "ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]}}`, "",
			`cniVersion "0.2.0" has room for one address of each family: use 0.3.0 or later, or one range set for each family`},
		{"route without destination", keys(`"subnet": "10.1.0.0/24", "routes": [{"gw": "10.1.0.1"}]`), "", "ipam.routes[0].dst is missing: add a destination like 0.0.0.0/0"},
		{"route to nowhere", keys(`"subnet": "10.1.0.0/24", "routes": [{"dst": "default"}]`), "", `ipam.routes[0].dst "default" is not a destination: write one like 0.0.0.0/0 or fd00::/8`},
		{"request", keys(`"subnet": "10.1.0.0/24"`), "IP=ten", `CNI_ARGS IP "ten" is not an IP address: write one like 10.1.0.5 or fd00::5`},
		{"request with prefix", keys(`"subnet": "10.1.0.0/24"`), "IP=10.1.0.5/99", `CNI_ARGS IP "10.1.0.5/99" is not an IP address with a prefix length: write one like 10.1.0.5/24`},
		{"CNI_ARGS", keys(`"subnet": "10.1.0.0/24"`), "IP", `CNI_ARGS has the entry "IP" without a value: write KEY=VALUE;KEY=VALUE`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.stdin), tt.args)
			if !errors.Is(err, ErrConfig) || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %v", err, tt.want)
			}
		})
	}
}
