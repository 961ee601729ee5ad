package overlay

import (
	"encoding/json"
	"net/netip"
	"testing"
)

// hosts reads hosts that can be read.
func hosts(t *testing.T, text string) Hosts {
	t.Helper()
	var read PeersText
	if err := json.Unmarshal([]byte(text), &read); err != nil {
		t.Fatal(err)
	}
	h, err := read.Parse()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestPeersRefuses(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`{"self": "eth0"}`, `key self is "eth0": give an IP address, such as 192.0.2.11`},
		{`{"peers": [{"vtep": "192.0.2.11"}, {"vtep": "192.0.2"}]}`, `peers[1].vtep is "192.0.2": give an IP address, such as 192.0.2.11`},
		{`{"peers": [{"vtep": "fe80::1%eth0"}]}`, `peers[0].vtep is "fe80::1%eth0": give an IP address, such as 192.0.2.11`},
		{`{"peers": [{"vtep": "192.0.2.11", "subnets": ["10.42.1.0/24", "10.42.2.1/24"]}]}`, `peers[0].subnets[1] is 10.42.2.1/24, which has host bits: write 10.42.2.0/24`},
		{`{"pins": [{"address": "x", "vtep": "192.0.2.11"}]}`, `pins[0].address is "x": give an IP address, such as 192.0.2.11`},
		{`{"pins": [{"address": "10.42.0.1"}]}`, `pins[0].vtep is "": give an IP address, such as 192.0.2.11`},
	} {
		t.Run(tt.text, func(t *testing.T) {
			var text PeersText
			if err := json.Unmarshal([]byte(tt.text), &text); err != nil {
				t.Fatal(err)
			}
			_, err := text.Parse()
			wantConfigError(t, err, tt.want)
		})
	}
}

func TestCheck(t *testing.T) {
	const a, b = `{"vtep": "192.0.2.11", "subnets": ["10.42.1.0/24", "fd42:0:0:1::/64"]}`, `{"vtep": "192.0.2.12", "subnets": ["10.42.2.0/24"]}`
	network := Network{VNI: 1, Subnets: prefixes("10.42.0.0/16", "fd42::/48"), Port: DefaultPort}
	for _, tt := range []struct{ name, text, want string }{
		{"sound", `{"peers": [` + a + `, ` + b + `], "pins": [{"address": "10.42.1.9", "vtep": "192.0.2.12"}]}`, ``},
		{"without blocks", `{"peers": [` + a + `, {"vtep": "192.0.2.12"}]}`, ``},
		{"nobody", `{"peers": []}`, ``},
		{"neighbouring blocks", `{"peers": [{"vtep": "192.0.2.11", "subnets": ["10.42.1.0/25", "10.42.1.128/25", "10.42.0.252/30"]}]}`, ``},
		{"unspecified", `{"peers": [{"vtep": "0.0.0.0"}]}`, `peers[0].vtep is 0.0.0.0: give the host's address on the underlay`},
		{"multicast", `{"peers": [{"vtep": "239.1.1.1"}]}`, `peers[0].vtep is 239.1.1.1: give the host's address on the underlay`},
		{"two families", `{"peers": [` + a + `, {"vtep": "2001:db8::12"}]}`,
			`peers[1].vtep is 2001:db8::12 and peers[0].vtep is 192.0.2.11: give all hosts addresses of one family`},
		{"inside the network", `{"peers": [{"vtep": "192.0.2.11"}, {"vtep": "10.42.255.2"}]}`,
			`peers[1].vtep is 10.42.255.2, inside the network's 10.42.0.0/16 and fd42::/48: give the host's address on the underlay, or choose another subnet`},
		{"inside the network 6", `{"peers": [{"vtep": "fd42:0:0:ffff::1"}]}`,
			`peers[0].vtep is fd42:0:0:ffff::1, inside the network's 10.42.0.0/16 and fd42::/48: give the host's address on the underlay, or choose another subnet`},
		{"twice", `{"peers": [` + a + `, ` + b + `, {"vtep": "::ffff:192.0.2.11"}]}`,
			`peers[2].vtep is 192.0.2.11, which is that of peers[0] too: give each host one entry with all its subnets`},
		{"outside", `{"peers": [{"vtep": "192.0.2.11", "subnets": ["10.43.0.0/24"]}]}`,
			`peers[0].subnets[0] is 10.43.0.0/24, outside the network's 10.42.0.0/16 and fd42::/48: give a part of it`},
		{"wider", `{"peers": [{"vtep": "192.0.2.11", "subnets": ["10.42.0.0/15"]}]}`,
			`peers[0].subnets[0] is 10.42.0.0/15, outside the network's 10.42.0.0/16 and fd42::/48: give a part of it`},
		{"too small", `{"peers": [{"vtep": "192.0.2.11", "subnets": ["10.42.1.0/31"]}]}`,
			`peers[0].subnets[0] is 10.42.1.0/31, too small for the host and its containers: give at least a /30`},
		{"too small 6", `{"peers": [{"vtep": "192.0.2.11", "subnets": ["fd42::/127"]}]}`,
			`peers[0].subnets[0] is fd42::/127, too small for the host and its containers: give at least a /126`},
		{"overlap", `{"peers": [` + b + `, {"vtep": "192.0.2.11", "subnets": ["10.42.1.0/24", "10.42.2.128/25"]}]}`,
			`peers[1].subnets[1] is 10.42.2.128/25, which overlaps peers[0].subnets[0] 10.42.2.0/24: give each host blocks of its own`},
		{"the same block", `{"peers": [` + b + `, {"vtep": "192.0.2.11", "subnets": ["10.42.2.0/24"]}]}`,
			`peers[1].subnets[0] is 10.42.2.0/24, which overlaps peers[0].subnets[0] 10.42.2.0/24: give each host blocks of its own`},
		{"far overlap", `{"peers": [` + a + `, ` + b + `, {"vtep": "192.0.2.13", "subnets": ["10.42.0.0/16"]}]}`,
			`peers[0].subnets[0] is 10.42.1.0/24, which overlaps peers[2].subnets[0] 10.42.0.0/16: give each host blocks of its own`},
		{"pin outside", `{"peers": [` + a + `], "pins": [{"address": "10.0.0.1", "vtep": "192.0.2.11"}]}`,
			`pins[0].address is 10.0.0.1, outside the network's 10.42.0.0/16 and fd42::/48: give an address of it`},
		{"pin to a stranger", `{"peers": [` + a + `], "pins": [{"address": "10.42.0.1", "vtep": "192.0.2.99"}]}`,
			`pins[0].vtep is 192.0.2.99, which is no peer's: name one of key peers`},
		{"pinned twice", `{"peers": [` + a + `, ` + b + `], "pins": [{"address": "10.42.0.1", "vtep": "192.0.2.11"}, {"address": "10.42.0.1", "vtep": "192.0.2.12"}]}`,
			`pins[1].address is 10.42.0.1, which is that of pins[0] too: pin each address to one host`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := network.Check(hosts(t, tt.text))
			if tt.want != "" {
				wantConfigError(t, err, tt.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOwn(t *testing.T) {
	const peers = `"peers": [{"vtep": "192.0.2.11", "subnets": ["10.42.1.0/24"]}, {"vtep": "192.0.2.12", "subnets": ["10.42.2.0/24"]}]`
	for _, tt := range []struct {
		name, self string
		local      []string
		want, err  string
	}{
		{"by address", ``, []string{"127.0.0.1", "192.0.2.12", "fe80::1"}, "192.0.2.12", ``},
		{"by name", `"self": "192.0.2.11", `, []string{"192.0.2.12"}, "192.0.2.11", ``},
		{"no entry", ``, []string{"127.0.0.1", "192.0.2.99"}, ``,
			`no vtep of key peers is an address of this host: add an entry for it, or name its vtep in key self`},
		{"name without entry", `"self": "192.0.2.99", `, []string{"192.0.2.12"}, ``,
			`key self is 192.0.2.99, which is no peer's vtep: add an entry for this host to key peers`},
		{"two entries", ``, []string{"192.0.2.12", "192.0.2.11"}, ``,
			`peers[0].vtep and peers[1].vtep are both addresses of this host: name the right one in key self`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var local []netip.Addr
			for _, addr := range tt.local {
				local = append(local, netip.MustParseAddr(addr))
			}
			got, err := hosts(t, `{`+tt.self+peers+`}`).Own(local)
			if tt.err != "" {
				wantConfigError(t, err, tt.err)
				return
			}
			if err != nil || got.VTEP.String() != tt.want {
				t.Errorf("got %s, %v, want %s", got.VTEP, err, tt.want)
			}
		})
	}
}
