package main

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/cnierrtest"
	"github.com/fairway-cni/fairway/pkg/plantest"
	"github.com/fairway-cni/fairway/pkg/state"
)

func TestParseMAC(t *testing.T) {
	const conf = `{"vni": 1, "subnet": "10.42.0.0/16", "args": {"cni": {"mac": "02:00:00:00:00:02"}}, "runtimeConfig": {"mac": "02:00:00:00:00:03"}, ` + peersV4 + `}`
	c, err := parse([]byte(conf), attach.Env{Args: "MAC=02:00:00:00:00:01"})
	if err != nil || c.mac.String() != "02:00:00:00:00:03" {
		t.Errorf("got %s, %v", c.mac, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct {
		conf, want string
		code       uint
	}{
		{`{`, `network configuration is not JSON at byte 1: unexpected end of JSON input`, cnierr.Decode},
		{`{"vni": "1"}`, `key vni is a JSON string: give a whole number`, cnierr.Decode},
		{`{"peers": [{"vtep": 1}]}`, `key peers.vtep is a JSON number: give a string`, cnierr.Decode},
		{`{"vni": 1, "subnet": "10.42.0.0/16"}`,
			`key peers is missing: list the hosts with their blocks, or name a file that does in key peersFile`, cnierr.Config},
		{`{"peersFile": "/etc/peers.json", ` + peersV4 + `}`, `keys peers and peersFile are both set: remove one of the two`, cnierr.Config},
		{`{"peersFile": "peers.json"}`,
			`key peersFile is "peers.json": give a path from the root, as a runtime may call from anywhere`, cnierr.Config},
		{`{"agent": "/run/fairway/fairwayd.sock", ` + peersV4 + `}`,
			`key agent is set without key peersFile: name the file that the agent keeps`, cnierr.Config},
		{`{"ipam": {"type": "dhcp"}, ` + peersV4 + `}`,
			`key ipam.type is "dhcp": addresses come from the host's own blocks by host-local, remove it`, cnierr.Config},
		{`{"vni": 1, "subnet": "10.42.0.0/16", "runtimeConfig": {"mac": "01:00:00:00:00:01"}, ` + peersV4 + `}`,
			`runtimeConfig.mac is "01:00:00:00:00:01": give a unicast Ethernet address such as 02:00:00:00:00:01`, cnierr.Config},
		{`{"subnet": "10.42.0.0/16", ` + peersV4 + `}`,
			`key vni is 0: give the network an identifier from 1 to 16777215 that no other has`, cnierr.Config},
		{`{"vni": 16777216, "subnet": "10.42.0.0/16", ` + peersV4 + `}`,
			`key vni is 16777216: give the network an identifier from 1 to 16777215 that no other has`, cnierr.Config},
		{`{"vni": 1, "subnet": "10.42.0.1/16", ` + peersV4 + `}`, `key subnet is 10.42.0.1/16, which has host bits: write 10.42.0.0/16`, cnierr.Config},
		{`{"vni": 1, "subnet": "10.43.0.0/16", ` + peersV4 + `}`,
			`peers[0].subnets[0] is 10.42.1.0/24, outside the network's 10.43.0.0/16: give a part of it`, cnierr.Config},
		{`{"encrypted": true, "vni": 1, "subnet": "10.42.0.0/16", ` + peersV4 + `}`,
			"key privateKeyFile is missing: name the file of this host's key, which `fairway overlay genkey` makes, or remove key encrypted", cnierr.Config},
		{`{"encrypted": true, "privateKeyFile": "/key", "vni": 1, "subnet": "10.42.0.0/16", ` + peersV4 + `}`,
			`peers[0].publicKey is missing: the network is encrypted, give the public key of host 192.0.2.11`, cnierr.Config},
		{`{"privateKeyFile": "/key", "vni": 1, "subnet": "10.42.0.0/16", ` + peersV4 + `}`,
			`key privateKeyFile is set, and key encrypted is not: set encrypted to true, or remove privateKeyFile`, cnierr.Config},
		{`{"encrypted": true, "privateKeyFile": "key", ` + peersV4 + `}`,
			`key privateKeyFile is "key": give a path from the root, as a runtime may call from anywhere`, cnierr.Config},
		{`{"encrypted": true, "privateKeyFile": "/key", "agent": "/sock", "peersFile": "/peers"}`,
			`keys privateKeyFile and agent are both set: the node agent keeps the key, remove privateKeyFile`, cnierr.Config},
		{`{"wireguardPort": 1, "vni": 1, "subnet": "10.42.0.0/16", ` + peersV4 + `}`,
			`key wireguardPort is set, and key encrypted is not: set that too, or remove this`, cnierr.Config},
		{`{"wireguardPort": 4789, ` + keyed + `}`, `keys port and wireguardPort are both 4789: give WireGuard a port of its own`, cnierr.Config},
		{`{"wireguardPort": 65536, ` + keyed + `}`, `key wireguardPort is 65536: give a UDP port from 1 to 65535, or leave it out for 51840`, cnierr.Config},
	} {
		t.Run(tt.conf, func(t *testing.T) {
			_, err := parse([]byte(tt.conf), attach.Env{})
			cnierrtest.Want(t, err, tt.code, tt.want)
		})
	}
}

// FuzzParse plans whatever is accepted, and what DEL goes by when nothing is.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"name": "net", "vni": 1, "subnet": "10.42.0.0/16", "ipMasq": true, `+peersV4+`}`), "IP=10.42.1.9;MAC=02:00:00:00:00:01")
	f.Add([]byte(`{`+dual+`, "pins": [{"address": "10.42.1.77", "vtep": "2001:db8::12"}], "runtimeConfig": {"ips": ["fd42::9/48"]}}`), "")
	f.Add([]byte(`{"peersFile": "/x", "agent": "/y", "ipam": {"type": "host-local", "routes": [{"dst": "::/0"}]}}`), "IP=,;")
	f.Add([]byte(`{`+keyed+`}`), "")
	f.Add([]byte(`{"vni": 1, "subnet": "0.0.0.0/0", "peers": [{"vtep": "192.0.2.11", "subnets": ["0.0.0.0/0"]}]}`), "")
	f.Fuzz(func(t *testing.T, stdin []byte, args string) {
		owner := state.Owner{Network: "net", ContainerID: "c1", IfName: "eth0"}
		c, err := parse(stdin, attach.Env{Args: args})
		plantest.Describe(plan(c, attach.Request{Owner: owner, Removal: true}, attach.Lease{}))
		addressing(c)
		if err != nil {
			if code := cnierr.Code(err); code != cnierr.Decode && code != cnierr.Config {
				t.Errorf("code %d: %v", code, err)
			}
			return
		}
		if len(c.hosts.Peers) > 0 {
			c.own = c.hosts.Peers[0]
		}
		addressing(c)
		plantest.Describe(plan(c, attach.Request{Owner: owner}, lease("10.42.1.5/24", "10.42.1.0", "fd42:0:0:1::5/64", "fd42:0:0:1::")))
	})
}
