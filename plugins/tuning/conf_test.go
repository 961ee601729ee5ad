package main

import (
	"net"
	"testing"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/cnierrtest"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/google/go-cmp/cmp"
)

// everyKey has each key of upstream's plugin with a value that is not the default.
const everyKey = `{
	"cniVersion": "1.1.0", "name": "net", "type": "tuning", "unknown": {"key": 1}, "dataDir": "/data",
	"sysctl": {"net.core.somaxconn": "500", "net.ipv4.conf.IFNAME.arp_filter": "1"},
	"mac": "02:00:00:00:00:01", "promisc": true, "mtu": 1400, "allmulti": false, "txQLen": 7,
	"runtimeConfig": {"mac": "02:00:00:00:00:03"}
}`

// TestPlan: what is declared, as the commands an administrator would type.
func TestPlan(t *testing.T) {
	const sysctl = "# net.core.somaxconn, net.ipv4.conf.IFNAME.arp_filter are allowed by /etc/cni/tuning/allowlist.conf"
	for _, tt := range []struct {
		name, conf, args string
		removal          bool
		want             []string
	}{
		{"nothing", `{}`, "", false, nil},
		{"DEL sets again what was recorded", `{}`, "", true, []string{"ip link set eth0"}},
		{"every key", everyKey, "MAC=02:00:00:00:00:02", false, []string{
			sysctl, "sysctl -w net/core/somaxconn=500", "sysctl -w net/ipv4/conf/eth0/arp_filter=1",
			"ip link set eth0 address 02:00:00:00:00:03 promisc on mtu 1400 allmulticast off txqueuelen 7"}},
		{"args override", `{"mac": "02:00:00:00:00:01", "promisc": true, "mtu": 1400, "runtimeConfig": {"mac": "02:00:00:00:00:03"},
			"sysctl": {"net.core.somaxconn": "500"}, "args": {"cni": {"sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1", "net.core.somaxconn": "6"},
			"mac": "02:00:00:00:00:04", "promisc": false, "mtu": 1300, "allmulti": true, "txQLen": 0}}}`, "", false, []string{
			sysctl, "sysctl -w net/core/somaxconn=6", "sysctl -w net/ipv4/conf/eth0/arp_filter=1",
			"ip link set eth0 address 02:00:00:00:00:04 mtu 1300 allmulticast on txqueuelen 0"}},
		{"CNI_ARGS of nerdctl", `{}`, "IgnoreUnknown=1;IP=;MAC=;NERDCTL_CNI_DHCP_HOSTNAME=web", false, nil},
		{"CNI_ARGS", `{"mac": "02:00:00:00:00:01"}`, "MAC=02:00:00:00:00:02", false, []string{"ip link set eth0 address 02:00:00:00:00:02"}},
		{"a link's dot", `{"sysctl": {"net/ipv4/conf/eth0.10/arp_filter": "1"}}`, "", false, []string{
			"# net/ipv4/conf/eth0.10/arp_filter are allowed by /etc/cni/tuning/allowlist.conf", "sysctl -w net/ipv4/conf/eth0.10/arp_filter=1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parse([]byte(tt.conf), attach.Env{IfName: "eth0", Args: tt.args})
			if err != nil {
				t.Fatal(err)
			}
			request := attach.Request{Owner: state.Owner{Network: "net", ContainerID: "c1", IfName: "eth0"}, Removal: tt.removal}
			set, _ := plan(c, attach.Link{Request: request})
			var got []string
			for _, object := range set {
				got = append(got, object.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const mac = ": give a unicast Ethernet address such as 02:00:00:00:00:01"
	for _, tt := range []struct {
		conf, args string
		code       uint
		want       string
	}{
		{`{`, "", cnierr.Decode, `network configuration is not JSON at byte 1: unexpected end of JSON input`},
		{`{"sysctl": []}`, "", cnierr.Decode, `key sysctl is a JSON array: give an object`},
		{`{"mtu": "1500"}`, "", cnierr.Decode, `key mtu is a JSON string: give a whole number`},
		{`{"args": {"cni": {"promisc": 1}}}`, "", cnierr.Decode, `key args.cni.promisc is a JSON number: give true or false`},
		{`{"mtu": -1}`, "", cnierr.Config, `key mtu is -1: give the bytes of a packet, or leave it out`},
		{`{"txQLen": -1}`, "", cnierr.Config, `key txQLen is -1: give the packets of the queue, or leave it out`},
		{`{"mac": "zz"}`, "", cnierr.Config, `key mac is "zz"` + mac},
		{`{}`, "MAC=01:00:00:00:00:01", cnierr.Config, `MAC in CNI_ARGS is "01:00:00:00:00:01"` + mac},
		{`{"runtimeConfig": {"mac": "02-00-00-00-00-00-00-01"}}`, "", cnierr.Config, `runtimeConfig.mac is "02-00-00-00-00-00-00-01"` + mac},
		{`{"args": {"cni": {"mac": "x"}}}`, "", cnierr.Config, `args.cni.mac is "x"` + mac},
		{`{"sysctl": {"kernel.hostname": "x"}}`, "", cnierr.Config,
			`key sysctl has "kernel.hostname": give parameters of the network, such as net.core.somaxconn`},
		{`{"sysctl": {"net/../kernel/hostname": "x"}}`, "", cnierr.Config,
			`key sysctl has "net/../kernel/hostname": give parameters of the network, such as net.core.somaxconn`},
		{`{"sysctl": {"net.core.somaxconn": "1", "net.core.somaxconn": "2"}}`, "", cnierr.Config,
			`network configuration: key sysctl has "net.core.somaxconn" twice: remove one`},
	} {
		t.Run(tt.conf+tt.args, func(t *testing.T) {
			_, err := parse([]byte(tt.conf), attach.Env{IfName: "eth0", Args: tt.args})
			cnierrtest.Want(t, err, tt.code, tt.want)
		})
	}
}

// FuzzParse looks for input that is neither refused with a code of bad input nor fit to be planned.
func FuzzParse(f *testing.F) {
	f.Add([]byte(everyKey), "MAC=02:00:00:00:00:01")
	f.Add([]byte(`{"sysctl": null, "args": {"cni": {"sysctl": {"net.a": "1"}}}}`), ";=;;MAC")
	f.Add([]byte(`null`), "")
	f.Fuzz(func(t *testing.T, stdin []byte, args string) {
		c, err := parse(stdin, attach.Env{IfName: "eth0", Args: args})
		plan(c, attach.Link{})
		if code := cnierr.Code(err); err != nil && code != cnierr.Decode && code != cnierr.Config {
			t.Errorf("code %d: %v", code, err)
		}
		for _, p := range c.parameters {
			if _, err := fileOf(p.key, "eth0"); err != nil || p.file[:4] != "net/" {
				t.Errorf("parameter %+v", p)
			}
		}
		if c.mac != nil && (len(c.mac) != len(net.HardwareAddr{1, 2, 3, 4, 5, 6}) || c.mac[0]&1 != 0) {
			t.Errorf("MAC %s", c.mac)
		}
	})
}
