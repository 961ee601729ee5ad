package main

import (
	"net"
	"testing"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/cnierrtest"
	"github.com/google/go-cmp/cmp"
)

// everyKey has each key of upstream's plugin, and ours, with a value that is not the default.
const everyKey = `{
	"cniVersion": "1.1.0", "name": "net", "type": "bridge", "unknown": {"key": 1},
	"bridge": "br7", "isGateway": true, "isDefaultGateway": true, "forceAddress": true,
	"ipMasq": true, "ipMasqBackend": "nftables", "mtu": 1400, "promiscMode": true,
	"vlan": 100, "vlanTrunk": [{"id": 5}, {"minID": 7, "maxID": 8}], "preserveDefaultVlan": true,
	"macspoofchk": true, "enabledad": true, "portIsolation": true,
	"internal": true, "icc": false, "isolated": true,
	"ipam": {"type": "host-local"}, "dns": {"nameservers": ["10.0.0.1"]},
	"args": {"cni": {"mac": "02:00:00:00:00:02"}},
	"runtimeConfig": {"mac": "02:00:00:00:00:03"}
}`

func TestParseEveryKey(t *testing.T) {
	got, err := parse([]byte(everyKey), attach.Env{Args: "MAC=02:00:00:00:00:01"})
	if err != nil {
		t.Fatal(err)
	}
	id, low, high, icc := 5, 7, 8, false
	want := conf{
		Bridge: "br7", IsGateway: true, IsDefaultGateway: true, ForceAddress: true,
		IPMasq: true, IPMasqBackend: "nftables", MTU: 1400, PromiscMode: true,
		VLAN: 100, VLANTrunk: trunk{{ID: &id}, {MinID: &low, MaxID: &high}}, PreserveDefaultVLAN: true,
		MACSpoofCheck: true, EnableDAD: true, PortIsolation: true,
		Internal: true, ICC: &icc, Isolated: true,
		mac: net.HardwareAddr{2, 0, 0, 0, 0, 3}, tagged: []uint16{5, 7, 8},
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
	if diff := cmp.Diff(conf{Bridge: "cni0"}, got, cmp.AllowUnexported(conf{})); diff != "" {
		t.Errorf("parse (-want +got):\n%s", diff)
	}
}

func TestParseMAC(t *testing.T) {
	const args, capability = `"args": {"cni": {"mac": "02:00:00:00:00:02"}}`, `"runtimeConfig": {"mac": "02:00:00:00:00:03"}`
	for _, tt := range []struct{ name, env, conf, want string }{
		{"none", "", `{}`, ""},
		{"CNI_ARGS", "MAC=02:00:00:00:00:01", `{}`, "02:00:00:00:00:01"},
		{"CNI_ARGS of nerdctl", "IgnoreUnknown=1;IP=;MAC=;NERDCTL_CNI_DHCP_HOSTNAME=web", `{}`, ""},
		{"CNI_ARGS with unknown keys", "K8S_POD_NAME=web;MAC=02:00:00:00:00:01;IP=10.0.0.9", `{}`, "02:00:00:00:00:01"},
		{"CNI_ARGS twice", "MAC=02:00:00:00:00:09;MAC=02:00:00:00:00:01", `{}`, "02:00:00:00:00:01"},
		{"args before CNI_ARGS", "MAC=02:00:00:00:00:01", `{` + args + `}`, "02:00:00:00:00:02"},
		{"capability before args", "MAC=02:00:00:00:00:01", `{` + args + `, ` + capability + `}`, "02:00:00:00:00:03"},
		{"capability before CNI_ARGS", "MAC=02:00:00:00:00:01", `{` + capability + `}`, "02:00:00:00:00:03"},
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
		{`[]`, "", cnierr.Decode, `network configuration is a JSON array: give an object`},
		{`{"mtu": "1500"}`, "", cnierr.Decode, `key mtu is a JSON string: give a whole number`},
		{`{"mtu": 1.5}`, "", cnierr.Decode, `key mtu is a JSON number 1.5: give a whole number`},
		{`{"bridge": 5}`, "", cnierr.Decode, `key bridge is a JSON number: give a string`},
		{`{"isGateway": "yes"}`, "", cnierr.Decode, `key isGateway is a JSON string: give true or false`},
		{`{"vlanTrunk": {}}`, "", cnierr.Decode, `key vlanTrunk is a JSON object: give a list`},
		{`{"ipam": []}`, "", cnierr.Decode, `key ipam is a JSON array: give an object`},
		{`{"runtimeConfig": {"mac": 1}}`, "", cnierr.Decode, `key runtimeConfig.mac is a JSON number: give a string`},
		{`{"bridge": ""}`, "", cnierr.Config, `key bridge is empty: give a name of 1 to 15 bytes`},
		{`{"bridge": "br0123456789abcd"}`, "", cnierr.Config, `key bridge "br0123456789abcd" has 16 bytes: shorten it to at most 15`},
		{`{"bridge": "a/b"}`, "", cnierr.Config, `key bridge "a/b" holds '/', ':', '%' or white space: choose another name`},
		{`{"bridge": "br%d"}`, "", cnierr.Config, `key bridge "br%d" holds '/', ':', '%' or white space: choose another name`},
		{`{"bridge": ".."}`, "", cnierr.Config, `key bridge ".." is not a name for a link: choose another`},
		{`{"mtu": 67}`, "", cnierr.Config, `key mtu is 67: give 68 to 65535, or leave it out for the MTU of the path to the outside`},
		{`{"mtu": -1}`, "", cnierr.Config, `key mtu is -1: give 68 to 65535, or leave it out for the MTU of the path to the outside`},
		{`{"vlan": 4095}`, "", cnierr.Config, `key vlan is 4095: give 1 to 4094, or leave it out`},
		{`{"vlan": 4094, "isGateway": true, "bridge": "br012345678"}`, "", cnierr.Config,
			`key bridge with vlan and isGateway: the gateway's interface "br012345678.4094" has 16 bytes: shorten it to at most 15`},
		{`{"vlanTrunk": [{"minID": 3}]}`, "", cnierr.Config, `key vlanTrunk[0] has one of minID and maxID: give both, or id`},
		{`{"vlanTrunk": [{}, {"id": 0}]}`, "", cnierr.Config, `key vlanTrunk[1] spans 0 to 0: give VLANs from 1 to 4094, the lower first`},
		{`{"vlanTrunk": [{"minID": 9, "maxID": 8}]}`, "", cnierr.Config, `key vlanTrunk[0] spans 9 to 8: give VLANs from 1 to 4094, the lower first`},
		{`{"hairpinMode": true, "promiscMode": true}`, "", cnierr.Config,
			`keys hairpinMode and promiscMode are both true: a frame would come back twice, choose one`},
		{`{"disableContainerInterface": true, "ipam": {"type": "host-local"}}`, "", cnierr.Config,
			`key disableContainerInterface is true and key ipam is set: an interface that is down has no addresses, remove one of the two`},
		{`{"ipMasqBackend": "pf"}`, "", cnierr.Config, `key ipMasqBackend is "pf": give "nftables", or leave it out`},
		{`{}`, "MAC=zz", cnierr.Config, `MAC in CNI_ARGS is "zz": give a unicast Ethernet address such as 02:00:00:00:00:01`},
		{`{"args": {"cni": {"mac": "03:00:00:00:00:01"}}}`, "", cnierr.Config,
			`args.cni.mac is "03:00:00:00:00:01": give a unicast Ethernet address such as 02:00:00:00:00:01`},
		{`{"runtimeConfig": {"mac": "02-00-00-00-00-00-00-01"}}`, "", cnierr.Config,
			`runtimeConfig.mac is "02-00-00-00-00-00-00-01": give a unicast Ethernet address such as 02:00:00:00:00:01`},
	} {
		t.Run(tt.conf+tt.args, func(t *testing.T) {
			_, err := parse([]byte(tt.conf), attach.Env{Args: tt.args})
			cnierrtest.Want(t, err, tt.code, tt.want)
		})
	}
}
