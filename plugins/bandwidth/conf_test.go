package main

import (
	"fmt"
	"testing"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/cnierrtest"
)

func TestParse(t *testing.T) {
	const given = `"runtimeConfig": {"bandwidth": {"ingressRate": 16, "ingressBurst": 24}}`
	for _, tt := range []struct{ conf, want string }{
		{`{}`, "0/0 0/0"},
		{`{"ingressRate": 8000, "ingressBurst": 80, "egressRate": 800, "egressBurst": 8}`, "8000/80 800/8"},
		{`{` + given + `}`, "16/24 0/0"},
		{`{"egressRate": 800, "egressBurst": 8, ` + given + `}`, "0/0 800/8"}, // the network's count
		{`{"ingressRate": 0, "ingressBurst": 0}`, "0/0 0/0"},
	} {
		c, err := parse([]byte(tt.conf), attach.Env{})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%d/%d %d/%d", c.in.Bits, c.in.Burst, c.out.Bits, c.out.Burst); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.conf, got, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct {
		conf string
		code uint
		want string
	}{
		{`{"egressRate": -1}`, cnierr.Decode, `key egressRate is a JSON number -1: give a whole number`},
		{`{"egressRate": 800}`, cnierr.Config, `key egressRate is 800 and key egressBurst is 0: give both, or none`},
		{`{"ingressBurst": 800}`, cnierr.Config, `key ingressRate is 0 and key ingressBurst is 800: give both, or none`},
		{`{"ingressRate": 7, "ingressBurst": 800}`, cnierr.Config, `key ingressRate is 7 and key ingressBurst is 800: give bits, at least those of a byte`},
		{`{"ingressRate": 8, "ingressBurst": 34359738360}`, cnierr.Config, `key ingressBurst is 34359738360: give less than 4 GiB, in bits`},
		{`{"runtimeConfig": {"bandwidth": {"egressRate": 8}}}`, cnierr.Config,
			`runtimeConfig.bandwidth.egressRate is 8 and runtimeConfig.bandwidth.egressBurst is 0: give both, or none`},
	} {
		_, err := parse([]byte(tt.conf), attach.Env{})
		cnierrtest.Want(t, err, tt.code, tt.want)
	}
}

// FuzzParse looks for input that is neither refused with a code of bad input nor fit to be planned.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"ingressRate": 8000, "ingressBurst": 80, "runtimeConfig": {"bandwidth": null}}`))
	f.Fuzz(func(t *testing.T, stdin []byte) {
		c, err := parse(stdin, attach.Env{})
		set, _ := plan(c, attach.Link{Reported: true})
		for _, o := range set {
			_ = o.String()
		}
		if code := cnierr.Code(err); err != nil && code != cnierr.Decode && code != cnierr.Config {
			t.Errorf("code %d: %v", code, err)
		}
	})
}
