package main

import (
	"net/netip"
	"testing"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/cnierrtest"
	"github.com/fairway-cni/fairway/pkg/ipam"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/google/go-cmp/cmp"
)

// TestPlan: what is declared, as the commands an administrator would type.
func TestPlan(t *testing.T) {
	dual := ipam.Lease{IPs: []ipam.IP{
		{Prefix: netip.MustParsePrefix("10.1.0.2/24"), Gateway: netip.MustParseAddr("10.1.0.1")},
		{Prefix: netip.MustParsePrefix("fd01::2/64")},
	}}
	for _, tt := range []struct {
		name, conf string
		lease      ipam.Lease
		want       string
	}{
		{"a table of its own for each address", `{"unknown": 1}`, dual,
			"ip rule add from 10.1.0.2 table TABLE && ip route add default via 10.1.0.1 dev eth0 table TABLE && ip rule add from fd01::2 table TABLE"},
		{"one that is there", `{"table": 5000}`, dual, "ip rule add from 10.1.0.2 table 5000 && ip rule add from fd01::2 table 5000"},
		{"no address", `{}`, ipam.Lease{}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parse([]byte(tt.conf), attach.Env{})
			if err != nil {
				t.Fatal(err)
			}
			set, _ := plan(c, attach.Link{Request: attach.Request{Owner: state.Owner{IfName: "eth0"}}, Lease: tt.lease})
			if diff := cmp.Diff(tt.want, set[0].String()); diff != "" || len(set) != 1 {
				t.Errorf("%d objects (-want +got):\n%s", len(set), diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct {
		conf string
		code uint
		want string
	}{
		{`{"table": "main"}`, cnierr.Decode, `key table is a JSON string: give a whole number`},
		{`{"table": 0}`, cnierr.Config, `key table is 0: give the number of a routing table, 1 to 2147483647, or leave it out`},
		{`{"table": -1}`, cnierr.Config, `key table is -1: give the number of a routing table, 1 to 2147483647, or leave it out`},
		{`{"table": 2147483648}`, cnierr.Config, `key table is 2147483648: give the number of a routing table, 1 to 2147483647, or leave it out`},
	} {
		_, err := parse([]byte(tt.conf), attach.Env{})
		cnierrtest.Want(t, err, tt.code, tt.want)
	}
}
