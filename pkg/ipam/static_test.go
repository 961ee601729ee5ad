package ipam

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/cnierrtest"
	"github.com/google/go-cmp/cmp"
)

const twoStatic = `"ipam": {"addresses": [{"address": "10.1.0.7/24", "gateway": "10.1.0.1"}, {"address": "fd01::7/64"}],
	"routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16", "gw": "10.1.0.9", "mtu": 1400}], "dns": {"domain": "x"}}`

func TestParseStatic(t *testing.T) {
	const both = "10.1.0.7/24 10.1.0.1, fd01::7/64 invalid IP"
	for _, tt := range []struct{ conf, args, want string }{
		{`{` + twoStatic + `}`, "", both},
		{`{` + twoStatic + `}`, "IgnoreUnknown=1;IP=;GATEWAY=", both},
		{`{` + twoStatic + `}`, "K8S_POD_NAME=x;IP=10.2.0.7/24, fd02::7/64;GATEWAY=10.2.0.1,fd02::1", both + ", 10.2.0.7/24 10.2.0.1, fd02::7/64 fd02::1"},
		{`{` + twoStatic + `, "args": {"cni": {"ips": ["10.3.0.7/24"]}}}`, "IP=10.2.0.7/24", "10.3.0.7/24 invalid IP"},
		{`{` + twoStatic + `, "args": {"cni": {"ips": ["10.3.0.7/24"]}}, "runtimeConfig": {"ips": ["10.4.0.7/24", "fd04::7/64"]}}`, "",
			"10.4.0.7/24 invalid IP, fd04::7/64 invalid IP"},
		{`{"ipam": {}}`, "", ""},
	} {
		lease, err := ParseStatic([]byte(tt.conf), tt.args, "1.1.0")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, ip := range lease.IPs {
			got = append(got, fmt.Sprint(ip.Prefix, " ", ip.Gateway))
		}
		if diff := cmp.Diff(tt.want, strings.Join(got, ", ")); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", tt.conf, tt.args, diff)
		}
		if strings.Contains(tt.conf, "routes") && (len(lease.Routes) != 2 || lease.DNS.Domain != "x") {
			t.Errorf("routes %v, DNS %v", lease.Routes, lease.DNS)
		}
	}
}

func TestParseStaticRefuses(t *testing.T) {
	const form = ": give addresses with the length of their subnet, such as 192.0.2.7/24"
	for _, tt := range []struct {
		conf, args, version string
		code                uint
		want                string
	}{
		{`{}`, "", "1.1.0", cnierr.Config, `the network configuration has no key ipam: add "ipam": {"type": "static", "addresses": …}`},
		{`{"ipam": {"addresses": [{"address": "10.1.0.7"}]}}`, "", "1.1.0", cnierr.Config, `ipam.addresses has "10.1.0.7"` + form},
		{`{"ipam": {"addresses": [{"address": "10.1.0.7/24", "gateway": "x"}]}}`, "", "1.1.0", cnierr.Config, `ipam.addresses has gateway "x": give an address`},
		{`{"ipam": {"addresses": [{"address": "224.0.0.1/24"}]}}`, "", "1.1.0", cnierr.Config, `ipam.addresses has "224.0.0.1/24": give addresses of an interface, such as 192.0.2.7/24`},
		{`{"ipam": {}}`, "IP=10.1.0.7", "1.1.0", cnierr.Config, `IP in CNI_ARGS has "10.1.0.7"` + form},
		{`{"ipam": {}}`, "GATEWAY=x", "1.1.0", cnierr.Config, `GATEWAY in CNI_ARGS has "x": give an address`},
		{`{"ipam": {}, "runtimeConfig": {"ips": ["10.1.0.7"]}}`, "", "1.1.0", cnierr.Config, `runtimeConfig.ips has "10.1.0.7"` + form},
		{`{"ipam": {}, "args": {"cni": {"ips": ["x"]}}}`, "", "1.1.0", cnierr.Config, `args.cni.ips has "x"` + form},
		{`{"ipam": {"routes": [null]}}`, "", "1.1.0", cnierr.Config, `ipam.routes holds a null: remove it`},
		{`{"ipam": {"addresses": [{"address": "10.1.0.7/24"}, {"address": "10.1.0.8/24"}]}}`, "", "0.2.0", cnierr.IncompatibleVersion,
			`cniVersion 0.2.0 has one address of each family: set it to 0.3.0 or later, or give fewer`},
	} {
		_, err := ParseStatic([]byte(tt.conf), tt.args, tt.version)
		cnierrtest.Want(t, err, tt.code, tt.want)
	}
}

func FuzzParseStatic(f *testing.F) {
	f.Add([]byte(`{`+twoStatic+`}`), "IP=10.2.0.7/24;GATEWAY=10.2.0.1")
	f.Fuzz(func(t *testing.T, stdin []byte, args string) {
		lease, err := ParseStatic(stdin, args, "1.1.0")
		if code := cnierr.Code(err); err != nil && code != cnierr.Decode && code != cnierr.Config {
			t.Errorf("code %d: %v", code, err)
		}
		for _, ip := range lease.IPs {
			if !ip.Prefix.IsValid() {
				t.Errorf("address %v", ip)
			}
		}
	})
}
