package main

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/cnierrtest"
)

func TestParse(t *testing.T) {
	const set = "key ipam is set: the container has the host's addresses and needs none of its own, remove key ipam"
	for _, tt := range []struct {
		conf, want string
		code       uint
	}{
		{`{}`, "", 0},
		{`{"ipam": null, "mtu": 1400}`, "", 0},
		{`{"ipam": {}}`, set, cnierr.Config},
		{`{"ipam": {"type": "host-local"}}`, set, cnierr.Config},
		{`{"ipam": "host-local"}`, set, cnierr.Config},
		{`{`, `network configuration is not JSON at byte 1: unexpected end of JSON input`, cnierr.Decode},
	} {
		t.Run(tt.conf, func(t *testing.T) {
			_, err := parse([]byte(tt.conf), attach.Env{})
			if err == nil && tt.want == "" {
				return
			}
			cnierrtest.Want(t, err, tt.code, tt.want)
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"cniVersion": "1.1.0", "name": "host", "type": "host", "ipam": {}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, stdin []byte) {
		_, err := parse(stdin, attach.Env{})
		if code := cnierr.Code(err); err != nil && code != cnierr.Decode && code != cnierr.Config {
			t.Errorf("code %d: %v", code, err)
		}
	})
}
