package main

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/cnierrtest"
	"github.com/google/go-cmp/cmp"
)

// everyKey has each key of upstream's plugin that can be answered, and ours.
const everyKey = `{
	"cniVersion": "1.1.0", "name": "net", "type": "portmap", "unknown": {"key": 1},
	"backend": "nftables", "snat": false, "masqAll": true, "markMasqBit": 5, "conditionsV4": [""], "conditionsV6": [],
	"hostIP": "192.0.2.1", "publishFrom": ["192.0.2.0/24", "2001:db8::7"],
	"runtimeConfig": {"portMappings": [
		{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
		{"hostPort": 8080, "containerPort": 80, "protocol": "TCP"},
		{"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "::ffff:127.0.0.1", "publishFrom": []},
		{"hostPort": 8080, "containerPort": 80, "protocol": "sctp", "hostIP": "0.0.0.0"}
	]}
}`

func TestParse(t *testing.T) {
	c, err := parse([]byte(everyKey), attach.Env{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range c.ports {
		got = append(got, p.String())
	}
	want := []string{"192.0.2.1:8080->80/tcp", "127.0.0.1:53->53/udp", "0.0.0.0:8080->80/sctp"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
	for i, want := range []int{2, 0, 2} {
		if got := len(c.ports[i].Sources); got != want {
			t.Errorf("%s: %d sources, want %d", c.ports[i], got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	mapping := func(m string) string { return `{"runtimeConfig": {"portMappings": [` + m + `]}}` }
	for _, tt := range []struct {
		conf string
		code uint
		want string
	}{
		{`{`, cnierr.Decode, `network configuration is not JSON at byte 1: unexpected end of JSON input`},
		{`{"snat": 1}`, cnierr.Decode, `key snat is a JSON number: give true or false`},
		{mapping(`{"hostPort": "80"}`), cnierr.Decode, `key runtimeConfig.portMappings.hostPort is a JSON string: give a whole number`},
		{`{"backend": "pf"}`, cnierr.Config, `key backend is "pf": give "nftables", or leave it out`},
		{`{"markMasqBit": 5, "externalSetMarkChain": "X"}`, cnierr.Config, `keys markMasqBit and externalSetMarkChain are both given: choose one`},
		{`{"markMasqBit": 32}`, cnierr.Config, `key markMasqBit is 32: give 0 to 31, or leave it out`},
		{`{"conditionsV6": ["!", "-d", "fd00::/8"]}`, cnierr.Config, `key conditionsV6 has "!", a rule's text for a program that is not executed: ` +
			`say who may come in by key publishFrom, or add rules to chain user of table inet fairway_ports`},
		{`{"hostIP": "host"}`, cnierr.Config, `key hostIP is "host": give an address of the host, or leave it out for all`},
		{`{"publishFrom": ["all"]}`, cnierr.Config, `key publishFrom has "all": give prefixes such as 192.0.2.0/24`},
		{mapping(`{"hostPort": 0, "containerPort": 80}`), cnierr.Config, `runtimeConfig.portMappings has hostPort 0: give 1 to 65535`},
		{mapping(`{"hostPort": 80, "containerPort": 65536}`), cnierr.Config, `runtimeConfig.portMappings has containerPort 65536: give 1 to 65535`},
		{mapping(`{"hostPort": 80, "containerPort": -1}`), cnierr.Config, `runtimeConfig.portMappings has containerPort -1: give 1 to 65535`},
		{mapping(`{"hostPort": 80, "containerPort": 80, "protocol": "icmp"}`), cnierr.Config,
			`runtimeConfig.portMappings has protocol "icmp": give tcp, udp or sctp`},
		{mapping(`{"hostPort": 80, "containerPort": 80, "hostIP": "fe80::1%eth0"}`), cnierr.Config,
			`runtimeConfig.portMappings has hostIP "fe80::1%eth0": give an address of the host, or leave it out for all`},
		{mapping(`{"hostPort": 80, "containerPort": 80, "hostIP": "::1"}`), cnierr.Config, `runtimeConfig.portMappings has hostIP "::1": ` +
			`nothing that goes to the loopback of IPv6 can be sent to a container, publish at 127.0.0.1, or at another address of the host`},
		{mapping(`{"hostPort": 80, "containerPort": 80}, {"hostPort": 80, "containerPort": 81}`), cnierr.Config,
			`runtimeConfig.portMappings has port 80/tcp of the host for ports 80 and 81 of the container: publish each by a port of its own`},
	} {
		t.Run(tt.conf, func(t *testing.T) {
			_, err := parse([]byte(tt.conf), attach.Env{})
			cnierrtest.Want(t, err, tt.code, tt.want)
		})
	}
}

// FuzzParse looks for input that is neither refused with a code of bad input nor fit to be planned.
func FuzzParse(f *testing.F) {
	f.Add([]byte(everyKey))
	f.Add([]byte(`{"runtimeConfig": {"portMappings": [null, {"hostPort": 1, "containerPort": 1, "publishFrom": null}]}}`))
	f.Fuzz(func(t *testing.T, stdin []byte) {
		c, err := parse(stdin, attach.Env{})
		set, _ := plan(c, attach.Link{})
		_ = set[len(set)-1].String()
		if code := cnierr.Code(err); err != nil && code != cnierr.Decode && code != cnierr.Config {
			t.Errorf("code %d: %v", code, err)
		}
	})
}
