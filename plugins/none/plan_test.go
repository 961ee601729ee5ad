package main

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/cnierrtest"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/google/go-cmp/cmp"
)

// TestPlan expects the loopback of the container and nothing else, whatever interface and lease there are.
func TestPlan(t *testing.T) {
	request := attach.Request{Owner: state.Owner{Network: "net", ContainerID: "c1", IfName: "eth0"}}
	set, result := plan(conf{}, request, attach.Lease{})
	var got []string
	for _, object := range set {
		got = append(got, state.Where(object).String()+": "+object.String())
	}
	want := []string{
		"container: ip link set lo up",
		"container: ip addr add 127.0.0.1/8 dev lo",
		"container: ip addr add ::1/128 dev lo nodad",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	wantResult := attach.Result{
		Chained:    true,
		Interfaces: []attach.Interface{{Name: "lo", In: state.Container, Addresses: true}},
	}
	if diff := cmp.Diff(wantResult, result); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct {
		conf, want string
		code       uint
	}{
		{`{`, `network configuration is not JSON at byte 1: unexpected end of JSON input`, cnierr.Decode},
		{`{"ipam": "x"}`, `key ipam is a JSON string: give an object`, cnierr.Decode},
		{`{"ipam": {"type": "host-local"}}`,
			`key ipam.type is "host-local": a container without a network has no address to ask for, remove key ipam`, cnierr.Config},
	} {
		t.Run(tt.conf, func(t *testing.T) {
			_, err := parse([]byte(tt.conf), attach.Env{})
			cnierrtest.Want(t, err, tt.code, tt.want)
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"cniVersion": "1.1.0", "name": "lo", "type": "loopback", "ipam": {}}`), "IgnoreUnknown=1")
	f.Add([]byte(`null`), "")
	f.Fuzz(func(t *testing.T, stdin []byte, args string) {
		_, err := parse(stdin, attach.Env{Args: args})
		if code := cnierr.Code(err); err != nil && code != cnierr.Decode && code != cnierr.Config {
			t.Errorf("code %d: %v", code, err)
		}
	})
}

// TestLoopback takes no notice of addresses, as the plugin whose name it has.
func TestLoopback(t *testing.T) {
	if _, err := parse([]byte(`{"type": "loopback", "ipam": {"type": "host-local"}}`), attach.Env{}); err != nil {
		t.Error(err)
	}
}
