package main

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/cnierrtest"
	"github.com/fairway-cni/fairway/pkg/plantest"
)

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct {
		conf string
		code uint
		want string
	}{
		{`{"mtu": "1500"}`, cnierr.Decode, `key mtu is a JSON string: give a whole number`},
		{`{}`, cnierr.Config, `key ipam.type is missing: name a plugin that gives the container an address, such as "host-local"`},
		{`{"mtu": 5, "ipam": {"type": "host-local"}}`, cnierr.Config, `key mtu is 5: give 68 to 65535, or leave it out for the MTU of the path to the outside`},
		{`{"ipMasqBackend": "pf", "ipam": {"type": "host-local"}}`, cnierr.Config, `key ipMasqBackend is "pf": give "nftables", or leave it out`},
	} {
		_, err := parse([]byte(tt.conf), attach.Env{})
		cnierrtest.Want(t, err, tt.code, tt.want)
	}
}

// FuzzParse looks for input that is neither refused with a code of bad input nor fit to be planned.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"ipMasq": true, "mtu": 1400, "ipam": {"type": "host-local"}, "capabilities": {"portMappings": true}}`), "MAC=02:00:00:00:00:01")
	f.Fuzz(func(t *testing.T, stdin []byte, args string) {
		c, err := parse(stdin, attach.Env{Args: args})
		plantest.Describe(plan(c, attach.Request{Removal: true}, attach.Lease{}))
		if code := cnierr.Code(err); err != nil && code != cnierr.Decode && code != cnierr.Config {
			t.Errorf("code %d: %v", code, err)
		}
	})
}
