package show

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/golden"
)

func lamp() conflist.Network {
	return conflist.Network{
		Name: "lamp", ID: conflist.IDOf("lamp"), Driver: "bridge", Scope: "local", File: "/etc/cni/net.d/fairway-lamp.conflist",
		Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Internal: true, Attachable: true, ConfigFrom: "base",
		Labels: map[string]string{"tier": "<web>"}, Options: map[string]string{"com.docker.network.bridge.name": "lamp0"},
		IPAM: conflist.IPAM{Driver: "default", Pools: []conflist.Pool{
			{
				Subnet: netip.MustParsePrefix("10.5.0.0/16"), Range: netip.MustParsePrefix("10.5.9.0/24"), Gateway: netip.MustParseAddr("10.5.9.254"),
				Aux: map[string]netip.Addr{"printer": netip.MustParseAddr("10.5.9.5")},
			},
			{Subnet: netip.MustParsePrefix("fd05::/64")},
		}},
	}
}

func attached() []attachment.Attachment {
	web := attachment.Attachment{
		Network: "lamp", ID: "1f2e", Name: "web", IfName: "eth0", MAC: net.HardwareAddr{2, 66, 10, 5, 9, 1},
		Addresses: []netip.Prefix{netip.MustParsePrefix("fd05::2/64"), netip.MustParsePrefix("10.5.9.1/16")},
	}
	again := web
	again.IfName, again.MAC, again.Addresses = "eth1", nil, nil
	return []attachment.Attachment{web, again, {Network: "lamp", ID: "k8s-pod", IfName: "eth0"}}
}

// published are the ports of the second interface of web.
func published(a attachment.Attachment) map[string][]Binding {
	if a.IfName != "eth1" {
		return nil
	}
	return map[string][]Binding{"80/tcp": {{"0.0.0.0", "8080"}, {"::", "8080"}}, "5000/udp": {{"192.0.2.7", "5000"}}}
}

func TestShape(t *testing.T) {
	none := conflist.Network{Name: "none", ID: conflist.IDOf("none"), Driver: "null", Scope: "local", IPAM: conflist.IPAM{Driver: "null"},
		Labels: map[string]string{}, Options: map[string]string{}}
	for name, test := range map[string]struct {
		form    string
		network []any
	}{
		"full":       {"", []any{Inspect(lamp(), attached())}},
		"predefined": {"", []any{Inspect(none, nil)}},
		"two":        {"json", []any{Inspect(none, nil), Inspect(lamp(), nil)}},
		"template":   {`{{.Name}} {{range .IPAM.Config}}{{.Subnet}} {{end}}{{range $id, $c := .Containers}}{{$id}}={{$c.IPv4Address}} {{end}}{{json .Labels}}`, []any{Inspect(lamp(), attached())}},
		"id":         {"{{.ID}} {{.Created.Unix}}", []any{Inspect(lamp(), nil)}},
		"published":  {`{{range .Containers}}{{json .Ports}}{{println}}{{end}}`, []any{Publishing(Inspect(lamp(), attached()), attached(), published)}},
		"verbose":    {"{{.Id}} {{.File}}", []any{Verbose(Inspect(lamp(), nil), lamp())}},
	} {
		t.Run(name, func(t *testing.T) {
			objects, err := NewObjects(test.form)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if err := objects.Print(&out, test.network); err != nil {
				t.Fatal(err)
			}
			golden.Compare(t, "inspect/"+name+".golden", out.String())
		})
	}
}
