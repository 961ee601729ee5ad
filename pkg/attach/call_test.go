package attach

import (
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/cnierrtest"
	"github.com/fairway-cni/fairway/pkg/identifier"
	"github.com/fairway-cni/fairway/pkg/ipam"
	"github.com/google/go-cmp/cmp"
)

func TestReadCallRefuses(t *testing.T) {
	const name = `use letters, digits, '_', '.' and '-', beginning with a letter or digit`
	const versions = `use one of 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0`
	for _, tt := range []struct {
		verb, stdin string
		code        uint
		want        string
	}{
		{"ADD", ``, cnierr.Decode, `network configuration is not JSON at byte 0: unexpected end of JSON input`},
		{"ADD", `{"cniVersion": 1}`, cnierr.Decode, `key cniVersion is a JSON number: give a string`},
		{"ADD", `{"name": ["a"]}`, cnierr.Decode, `key name is a JSON array: give a string`},
		{"ADD", `{"cniVersion": "1.0.0"}`, cnierr.Config, `name "": ` + name},
		{"ADD", `{"cniVersion": "1.0.0", "name": "../net"}`, cnierr.Config, `name "../net": ` + name},
		{"ADD", `{"cniVersion": "9.0.0", "name": "net"}`, cnierr.IncompatibleVersion, `cniVersion "9.0.0" is not supported: ` + versions},
		{"CHECK", `{"cniVersion": "0.3.1", "name": "net"}`, cnierr.IncompatibleVersion, `cniVersion 0.3.1 has no CHECK: set it to 0.4.0 or later`},
		{"GC", `{"cniVersion": "1.0.0", "name": "net"}`, cnierr.IncompatibleVersion, `cniVersion 1.0.0 has no GC: set it to 1.1.0 or later`},
		{"STATUS", `{"name": "net"}`, cnierr.IncompatibleVersion, `cniVersion 0.1.0 has no STATUS: set it to 1.1.0 or later`},
		{"GC", `{"cni.dev/valid-attachments": {}}`, cnierr.Decode, `key cni.dev/valid-attachments is a JSON object: give a list`},
	} {
		t.Run(tt.verb+" "+tt.stdin, func(t *testing.T) {
			env := Env{Command: tt.verb, ContainerID: "c1", IfName: "eth0", Netns: "/run/netns/c1"}
			err := (&call{env: env}).read(strings.NewReader(tt.stdin))
			cnierrtest.Want(t, err, tt.code, tt.want)
		})
	}
}

// TestValid tells absent and null, by which a runtime says nothing, from an empty list, by which nothing is alive.
func TestValid(t *testing.T) {
	for _, tt := range []struct {
		keys string
		want []ipam.Owner
	}{
		{``, nil},
		{`, "cni.dev/valid-attachments": null`, nil},
		{`, "cni.dev/attachments": null`, nil},
		{`, "cni.dev/valid-attachments": []`, []ipam.Owner{}},
		{`, "cni.dev/attachments": []`, []ipam.Owner{}},
		{`, "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}]`, []ipam.Owner{{ContainerID: "c1", IfName: "eth0"}}},
		{`, "cni.dev/attachments": [{"containerID": "c2", "ifname": "eth1"}]`, []ipam.Owner{{ContainerID: "c2", IfName: "eth1"}}},
		{`, "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}], "cni.dev/attachments": []`,
			[]ipam.Owner{{ContainerID: "c1", IfName: "eth0"}}},
	} {
		t.Run(tt.keys, func(t *testing.T) {
			stdin := `{"cniVersion": "1.1.0", "name": "net"` + tt.keys + `}`
			c := &call{env: Env{Command: "GC"}}
			if err := c.read(strings.NewReader(stdin)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, c.valid); diff != "" {
				t.Errorf("valid (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPrevResultRefuses(t *testing.T) {
	for _, tt := range []struct {
		version, prev string
		code          uint
		want          string
	}{
		{"1.0.0", `5`, cnierr.Decode, `prevResult is none: pass on the result of ADD as it was`},
		{"1.0.0", `{"ips": [null]}`, cnierr.Config, `prevResult.ips holds a null: pass on the result of ADD as it was`},
		{"0.3.1", `{"interfaces": [null]}`, cnierr.Config, `prevResult.interfaces holds a null: pass on the result of ADD as it was`},
		{"0.2.0", `{"ip4": {"ip": "ten"}}`, cnierr.Config, `prevResult: could not parse prevResult: invalid CIDR address: ten`},
	} {
		t.Run(tt.version+" "+tt.prev, func(t *testing.T) {
			stdin := `{"cniVersion": "` + tt.version + `", "name": "net", "prevResult": ` + tt.prev + `}`
			c := &call{env: Env{Command: "DEL", ContainerID: "c1", IfName: "eth0"}}
			if err := c.read(strings.NewReader(stdin)); err != nil {
				t.Fatal(err)
			}
			_, err := c.prevResult()
			cnierrtest.Want(t, err, tt.code, tt.want)
		})
	}
}

// FuzzCall reads whole calls: whatever is accepted has a sound name, and a result that is a lease or an error.
func FuzzCall(f *testing.F) {
	f.Add("ADD", []byte(`{"cniVersion": "1.1.0", "name": "net", "ipam": {"type": "host-local"}}`))
	f.Add("CHECK", []byte(`{"cniVersion": "0.4.0", "name": "net", "prevResult": `+prevResult+`}`))
	f.Add("CHECK", []byte(`{"cniVersion": "1.0.0", "name": "net", "prevResult": {"cniVersion": "1.0.0", "interfaces": [null], "ips": [null]}}`))
	f.Add("DEL", []byte(`{"cniVersion": "0.2.0", "name": "net", "prevResult": {"ip4": {"ip": "10.0.0.2/24"}}}`))
	f.Add("CHECK", []byte(`{"cniVersion": "1.0.0", "name": "net", "prevResult": {"routes": [null, {"dst": "::/0"}]}}`))
	f.Add("GC", []byte(`{"cniVersion": "1.1.0", "name": "net", "cni.dev/valid-attachments": [null]}`))
	f.Add("VERSION", []byte(``))
	f.Fuzz(func(t *testing.T, verb string, stdin []byte) {
		env := Env{Command: verb, ContainerID: "c1", IfName: "eth0", Netns: "/run/netns/c1"}
		c := &call{env: env}
		if err := c.read(strings.NewReader(string(stdin))); err != nil {
			if cnierr.Code(err) == cnierr.Internal {
				t.Errorf("no code: %v", err)
			}
			return
		}
		prev, err := c.prevResult()
		if err != nil || prev == nil {
			return
		}
		if _, err := c.recordedLease(prev); err != nil && cnierr.Code(err) != cnierr.Config {
			t.Errorf("code %d: %v", cnierr.Code(err), err)
		}
		if network := c.request(prev).Owner.Network; !identifier.Valid(network) {
			t.Errorf("network %q", network)
		}
	})
}
