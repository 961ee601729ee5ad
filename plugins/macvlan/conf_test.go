package main

import (
	"net"
	"testing"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/cnierrtest"
	"github.com/fairway-cni/fairway/pkg/plantest"
	"github.com/google/go-cmp/cmp"
)

// everyKey has each key of upstream's plugin, and ours, with a value that is not the default.
const everyKey = `{
	"cniVersion": "1.1.0", "name": "net", "type": "macvlan", "unknown": {"key": 1},
	"master": "lan0", "mode": "private", "mtu": 1400, "mac": "02:00:00:00:00:04", "linkInContainer": true, "bcqueuelen": 5,
	"enabledad": true, "hostAccess": false,
	"ipam": {"type": "host-local"}, "dns": {"nameservers": ["10.0.0.1"]},
	"args": {"cni": {"mac": "02:00:00:00:00:02"}},
	"runtimeConfig": {"mac": "02:00:00:00:00:03"}
}`

func TestParseEveryKey(t *testing.T) {
	got, err := parse([]byte(everyKey), attach.Env{Args: "MAC=02:00:00:00:00:01"})
	if err != nil {
		t.Fatal(err)
	}
	want := conf{
		Master: "lan0", Mode: "private", MTU: 1400, MAC: "02:00:00:00:00:04", LinkInContainer: true, BCQueueLen: 5,
		EnableDAD: true, mac: net.HardwareAddr{2, 0, 0, 0, 0, 3},
	}
	want.IPAM.Type = "host-local"
	want.Args.CNI.MAC, want.RuntimeConfig.MAC = "02:00:00:00:00:02", "02:00:00:00:00:03"
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(conf{})); diff != "" {
		t.Errorf("parse (-want +got):\n%s", diff)
	}
}

func TestParseDefaults(t *testing.T) {
	got, err := parse([]byte(`{}`), attach.Env{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(conf{Mode: "bridge"}, got, cmp.AllowUnexported(conf{})); diff != "" {
		t.Errorf("parse (-want +got):\n%s", diff)
	}
}

// TestParseMAC: the key, CNI_ARGS, args and the capability, the last of which counts.
func TestParseMAC(t *testing.T) {
	const key, args, capability = `"mac": "02:00:00:00:00:01"`, `"args": {"cni": {"mac": "02:00:00:00:00:03"}}`,
		`"runtimeConfig": {"mac": "02:00:00:00:00:04"}`
	for _, tt := range []struct{ name, env, conf, want string }{
		{"none", "IgnoreUnknown=1;MAC=", `{}`, ""},
		{"key", "", `{` + key + `}`, "02:00:00:00:00:01"},
		{"CNI_ARGS before the key", "MAC=02:00:00:00:00:02", `{` + key + `}`, "02:00:00:00:00:02"},
		{"args before CNI_ARGS", "MAC=02:00:00:00:00:02", `{` + args + `}`, "02:00:00:00:00:03"},
		{"capability before all", "MAC=02:00:00:00:00:02", `{` + key + `, ` + args + `, ` + capability + `}`, "02:00:00:00:00:04"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parse([]byte(tt.conf), attach.Env{Args: tt.env})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, c.mac.String()); diff != "" {
				t.Errorf("MAC (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct {
		conf, args string
		code       uint
		want       string
	}{
		{`{`, "", cnierr.Decode, `network configuration is not JSON at byte 1: unexpected end of JSON input`},
		{`{"mtu": "1500"}`, "", cnierr.Decode, `key mtu is a JSON string: give a whole number`},
		{`{"mode": 1}`, "", cnierr.Decode, `key mode is a JSON number: give a string`},
		{`{"bcqueuelen": -1}`, "", cnierr.Decode, `key bcqueuelen is a JSON number -1: give a whole number`},
		{`{"linkInContainer": "yes"}`, "", cnierr.Decode, `key linkInContainer is a JSON string: give true or false`},
		{`{"master": "eth0123456789abc"}`, "", cnierr.Config, `key master "eth0123456789abc" has 16 bytes: shorten it to at most 15`},
		{`{"master": "a/b"}`, "", cnierr.Config, `key master "a/b" holds '/', ':', '%' or white space: choose another name`},
		{`{"mode": "source"}`, "", cnierr.Config, `key mode is "source": give "bridge", "private", "vepa" or "passthru"`},
		{`{"mtu": 67}`, "", cnierr.Config, `key mtu is 67: give 68 to the master's, or leave it out for the master's`},
		{`{"mtu": -1}`, "", cnierr.Config, `key mtu is -1: give 68 to the master's, or leave it out for the master's`},
		{`{"hostAccess": true, "mode": "vepa"}`, "", cnierr.Config, `key hostAccess is true and key mode is "vepa", in which no other interface reaches the container: ` +
			`set mode to "bridge", or remove hostAccess`},
		{`{"hostAccess": true, "linkInContainer": true}`, "", cnierr.Config,
			`keys hostAccess and linkInContainer are both true: the host has no part in a network inside a container, choose one`},
		{`{"hostAccess": true}`, "", cnierr.Config, `key hostAccess is true and key ipam.type is "": the host takes an address of its own from host-local, ` +
			`set ipam.type to "host-local", or remove hostAccess`},
		{`{"hostAccess": true, "ipam": {"type": "dhcp"}}`, "", cnierr.Config, `key hostAccess is true and key ipam.type is "dhcp": ` +
			`the host takes an address of its own from host-local, set ipam.type to "host-local", or remove hostAccess`},
		{`{"mac": "zz"}`, "", cnierr.Config, `key mac is "zz": give a unicast Ethernet address such as 02:00:00:00:00:01`},
		{`{"mac": "00:00:00:00:00:00"}`, "", cnierr.Config, `key mac is "00:00:00:00:00:00": give a unicast Ethernet address such as 02:00:00:00:00:01`},
		{`{}`, "MAC=ff:ff:ff:ff:ff:ff", cnierr.Config, `MAC in CNI_ARGS is "ff:ff:ff:ff:ff:ff": give a unicast Ethernet address such as 02:00:00:00:00:01`},
	} {
		t.Run(tt.conf+tt.args, func(t *testing.T) {
			_, err := parse([]byte(tt.conf), attach.Env{Args: tt.args})
			cnierrtest.Want(t, err, tt.code, tt.want)
		})
	}
}

// FuzzParse looks for input that is neither refused with a code of bad input nor fit to be planned.
func FuzzParse(f *testing.F) {
	f.Add([]byte(everyKey), "MAC=02:00:00:00:00:01")
	f.Add([]byte(`{}`), "IgnoreUnknown=1;IP=;MAC=;NERDCTL_CNI_DHCP_HOSTNAME=")
	f.Add([]byte(`{"mtu": 1e3, "master": "\u0000"}`), "")
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
		if err := attach.CheckLinkName(c.Master); c.Master != "" && err != nil {
			t.Errorf("master %v", err)
		}
		for _, l := range []attach.Lease{{}, lease("10.1.0.2/24", "fd01::2/64")} {
			plantest.Describe(plan(c, attach.Request{Owner: owner}, l))
		}
	})
}
