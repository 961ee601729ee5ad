package main

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/cnierrtest"
	"github.com/google/go-cmp/cmp"
)

const everyKey = `{"cniVersion": "1.1.0", "name": "net", "type": "firewall", "unknown": 1, "backend": "iptables",
	"iptablesAdminChainName": "ADMIN", "firewalldZone": "home", "ingressPolicy": "isolated"}`

func TestParse(t *testing.T) {
	for text, want := range map[string]conf{
		`{}`:     {FirewalldZone: "trusted"},
		everyKey: {Backend: "iptables", IptablesAdminChainName: "ADMIN", FirewalldZone: "home", IngressPolicy: "isolated"},
	} {
		got, err := parse([]byte(text), attach.Env{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("parse (-want +got):\n%s", diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	_, err := parse([]byte(`{"ingressPolicy": "shut"}`), attach.Env{})
	cnierrtest.Want(t, err, cnierr.Config, `key ingressPolicy is "shut": give "open", "same-bridge" or "isolated"`)
	_, err = parse([]byte(`{"backend": []}`), attach.Env{})
	cnierrtest.Want(t, err, cnierr.Decode, `key backend is a JSON array: give a string`)
}

// FuzzParse looks for input that is neither refused with a code of bad input nor fit to be planned.
func FuzzParse(f *testing.F) {
	f.Add([]byte(everyKey))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, stdin []byte) {
		c, err := parse(stdin, attach.Env{})
		for _, reported := range []bool{true, false} {
			set, _ := plan(c, attach.Link{Reported: reported})
			_ = set[0].String()
		}
		if code := cnierr.Code(err); err != nil && code != cnierr.Decode && code != cnierr.Config {
			t.Errorf("code %d: %v", code, err)
		}
	})
}
