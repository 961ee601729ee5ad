package main

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/golden"
	"github.com/fairway-cni/fairway/pkg/plantest"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/google/go-cmp/cmp"
)

const (
	peersV4 = `"peers": [{"vtep": "192.0.2.11", "subnets": ["10.42.1.0/24"]}, {"vtep": "192.0.2.12", "subnets": ["10.42.2.0/24", "10.42.7.0/24"]}]`
	keyed   = `"encrypted": true, "privateKeyFile": "/key", "vni": 43, "subnets": ["10.42.0.0/16", "fd42::/48"], "peers": [
		{"vtep": "192.0.2.11", "subnets": ["10.42.1.0/24", "fd42:0:0:1::/64"], "publicKey": "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="},
		{"vtep": "192.0.2.12", "subnets": ["10.42.2.0/24"], "publicKey": "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="}]`
	dual = `"vni": 4096, "subnets": ["10.42.0.0/16", "fd42::/48"], "peers": [
		{"vtep": "2001:db8::11", "subnets": ["10.42.1.0/24", "fd42:0:0:1::/64"]}, {"vtep": "2001:db8::12", "subnets": ["fd42:0:0:2::/64"]}]`
)

// resolved is a configuration as it is on the first of its hosts, on an underlay of 1500 bytes.
func resolved(t *testing.T, text string) conf {
	t.Helper()
	c, err := parse([]byte(text), attach.Env{})
	if err != nil {
		t.Fatal(err)
	}
	c.own, c.underlayMTU = c.hosts.Peers[0], 1500
	return c
}

func lease(ips ...string) (l attach.Lease) {
	for i := 0; i < len(ips); i += 2 {
		l.IPs = append(l.IPs, attach.IP{Prefix: netip.MustParsePrefix(ips[i]), Gateway: netip.MustParseAddr(ips[i+1])})
	}
	return l
}

func TestPlan(t *testing.T) {
	v4, both := lease("10.42.1.5/24", "10.42.1.0"), lease("10.42.1.5/24", "10.42.1.0", "fd42:0:0:1::5/64", "fd42:0:0:1::")
	routed := v4
	routed.Routes = []attach.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0")}, {Dst: netip.MustParsePrefix("172.16.0.0/12")}}
	for _, tt := range []struct {
		name, conf string
		request    attach.Request
		lease      attach.Lease
	}{
		{"v4", `{"vni": 4096, "subnet": "10.42.0.0/16", ` + peersV4 + `}`, attach.Request{}, v4},
		{"dual-stack", `{"ipMasq": true, ` + dual + `}`, attach.Request{}, both},
		{"internal", `{"vni": 4096, "subnet": "10.42.0.0/16", "internal": true, "ipMasq": true, ` + peersV4 + `}`, attach.Request{}, routed},
		{"open", `{"vni": 7, "subnet": "10.42.0.0/16", "isolated": false, "mtu": 1400, "port": 8472, ` + peersV4 + `}`, attach.Request{}, v4},
		{"routes", `{"vni": 4096, "subnet": "10.42.0.0/16", ` + peersV4 + `}`, attach.Request{}, routed},
		{"pins", `{"vni": 4096, "subnet": "10.42.0.0/16", "pins": [{"address": "10.42.1.77", "vtep": "192.0.2.12"}], ` + peersV4 + `}`, attach.Request{}, v4},
		{"encrypted", `{` + keyed + `}`, attach.Request{}, both},
		{"encrypted-del", `{` + keyed + `}`, attach.Request{Removal: true}, attach.Lease{}},
		{"del", `{"vni": 4096, "subnet": "10.42.0.0/16", ` + peersV4 + `}`, attach.Request{Removal: true}, attach.Lease{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.request.Owner = state.Owner{Network: "net", ContainerID: "c1", IfName: "eth0"}
			golden.Compare(t, tt.name+".golden", plantest.Describe(plan(resolved(t, tt.conf), tt.request, tt.lease)))
		})
	}
}

// TestPlanAgain: the lease of a recorded result, in which older versions of CNI leave out the scope of routes, is planned
// as that of ADD was.
func TestPlanAgain(t *testing.T) {
	c := resolved(t, `{`+dual+`}`)
	request := attach.Request{Owner: state.Owner{Network: "net", ContainerID: "c1", IfName: "eth0"}}
	first, result := plan(c, request, lease("10.42.1.5/24", "10.42.1.0", "fd42:0:0:1::5/64", "fd42:0:0:1::"))
	for i := range result.Routes {
		result.Routes[i].Scope = nil
	}
	again, _ := plan(c, request, result.Lease)
	if diff := cmp.Diff(plantest.Describe(first, attach.Result{}), plantest.Describe(again, attach.Result{})); diff != "" {
		t.Errorf("plan of the result (-first +again):\n%s", diff)
	}
}

func TestAddressing(t *testing.T) {
	for _, tt := range []struct{ name, conf, want string }{
		{"block", `{"vni": 1, "subnet": "10.42.0.0/16", ` + peersV4 + `}`,
			`[[{"subnet":"10.42.1.0/24","rangeStart":"10.42.1.1","rangeEnd":"10.42.1.255","gateway":"10.42.1.0"}]]`},
		{"families", `{` + dual + `}`,
			`[[{"subnet":"10.42.1.0/24","rangeStart":"10.42.1.1","rangeEnd":"10.42.1.255","gateway":"10.42.1.0"}],` +
				`[{"subnet":"fd42:0:0:1::/64","rangeStart":"fd42:0:0:1::1","rangeEnd":"fd42::1:ffff:ffff:ffff:ffff","gateway":"fd42:0:0:1::"}]]`},
		{"blocks", `{"vni": 1, "subnet": "10.42.0.0/16", "peers": [{"vtep": "192.0.2.11", "subnets": ["10.42.1.0/30", "10.42.9.0/30"]}]}`,
			`[[{"subnet":"10.42.1.0/30","rangeStart":"10.42.1.1","rangeEnd":"10.42.1.3","gateway":"10.42.1.0"},` +
				`{"subnet":"10.42.9.0/30","rangeStart":"10.42.9.1","rangeEnd":"10.42.9.3","gateway":"10.42.9.0"}]]`},
		{"pinned away", `{"vni": 1, "subnet": "10.42.0.0/16", "pins": [{"address": "10.42.1.9", "vtep": "192.0.2.12"}, {"address": "10.42.1.1", "vtep": "192.0.2.12"},
			{"address": "10.42.1.255", "vtep": "192.0.2.12"}, {"address": "10.42.1.20", "vtep": "192.0.2.11"}], ` + peersV4 + `}`,
			`[[{"subnet":"10.42.1.0/24","rangeStart":"10.42.1.2","rangeEnd":"10.42.1.8","gateway":"10.42.1.0"},` +
				`{"subnet":"10.42.1.0/24","rangeStart":"10.42.1.10","rangeEnd":"10.42.1.254","gateway":"10.42.1.0"}]]`},
		{"pinned here, not asked for", `{"vni": 1, "subnet": "10.42.0.0/16", "pins": [{"address": "10.42.2.9", "vtep": "192.0.2.11"}], ` + peersV4 + `}`,
			`[[{"subnet":"10.42.1.0/24","rangeStart":"10.42.1.1","rangeEnd":"10.42.1.255","gateway":"10.42.1.0"}]]`},
		{"pinned here", `{"vni": 1, "subnet": "10.42.0.0/16", "pins": [{"address": "10.42.2.9", "vtep": "192.0.2.11"}], "runtimeConfig": {"ips": ["10.42.2.9/16"]}, ` + peersV4 + `}`,
			`[[{"subnet":"10.42.1.0/24","rangeStart":"10.42.1.1","rangeEnd":"10.42.1.255","gateway":"10.42.1.0"},` +
				`{"subnet":"10.42.0.0/16","rangeStart":"10.42.2.9","rangeEnd":"10.42.2.9","gateway":"10.42.1.0"}]]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := json.Marshal(addressing(resolved(t, tt.conf)).(section).Ranges)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("ranges (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAddressingUnresolved is what DEL and GC ask for: the directory, and nothing that the host would have to tell.
func TestAddressingUnresolved(t *testing.T) {
	c, err := parse([]byte(`{"vni": 1, "subnet": "10.42.0.0/16", "ipam": {"dataDir": "/data"}, `+peersV4+`}`), attach.Env{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(section{Type: "host-local", DataDir: "/data"}, addressing(c).(section)); diff != "" {
		t.Errorf("section (-want +got):\n%s", diff)
	}
}

func TestLastOf(t *testing.T) {
	for block, want := range map[string]string{"10.42.1.0/24": "10.42.1.255", "10.0.0.0/8": "10.255.255.255", "fd42::/126": "fd42::3", "0.0.0.0/0": "255.255.255.255"} {
		if got := lastOf(netip.MustParsePrefix(block)); got.String() != want {
			t.Errorf("lastOf(%s): got %s, want %s", block, got, want)
		}
	}
}

// TestPartial: from a file that lists some of the peers, nobody takes others away. Who declares again without an agent leaves nothing to it.
func TestPartial(t *testing.T) {
	for _, alone := range []bool{false, true} {
		c := conf{again: alone, alone: alone, partial: true}
		c.Agent = "/run/fairway/fairwayd.sock"
		if o := c.overlay("net"); !o.Peers.Partial || !o.Filter.Partial || o.Attended == alone {
			t.Errorf("without an agent %t: peers partial %t, filter partial %t, attended %t", alone, o.Peers.Partial, o.Filter.Partial, o.Attended)
		}
	}
}
