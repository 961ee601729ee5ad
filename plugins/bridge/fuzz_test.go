package main

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/plantest"
)

// FuzzParse looks for input that is neither refused with a code of bad input nor fit to be planned.
func FuzzParse(f *testing.F) {
	f.Add([]byte(everyKey), "MAC=02:00:00:00:00:01")
	f.Add([]byte(`{}`), "IgnoreUnknown=1;IP=;MAC=;NERDCTL_CNI_DHCP_HOSTNAME=")
	f.Add([]byte(`{"vlanTrunk": [{"minID": 1, "maxID": 4094}, null]}`), ";=;;MAC")
	f.Add([]byte(`{"mtu": 1e3, "bridge": "\u0000"}`), "")
	f.Add([]byte(`null`), "MAC=ff:ff:ff:ff:ff:ff")
	f.Fuzz(func(t *testing.T, stdin []byte, args string) {
		c, err := parse(stdin, attach.Env{Args: args})
		plantest.Describe(plan(c, attach.Request{Owner: owner, Removal: true}, attach.Lease{})) // DEL goes by what could be read
		if err != nil {
			if code := cnierr.Code(err); code != cnierr.Decode && code != cnierr.Config {
				t.Errorf("code %d: %v", code, err)
			}
			return
		}
		if err := attach.CheckLinkName(c.Bridge); err != nil {
			t.Errorf("bridge %v", err)
		}
		if c.mac != nil && (len(c.mac) != 6 || c.mac[0]&1 != 0) {
			t.Errorf("MAC %s", c.mac)
		}
		for _, id := range c.tagged {
			if id < 1 || id > maxVLAN {
				t.Errorf("VLAN %d", id)
			}
		}
		for _, l := range []attach.Lease{{}, lease("10.1.0.2/24", "fd01::2/64")} {
			plantest.Describe(plan(c, attach.Request{Owner: owner}, l))
		}
	})
}
