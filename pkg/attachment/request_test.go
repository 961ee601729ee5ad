package attachment

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/google/go-cmp/cmp"
)

func TestConfigure(t *testing.T) {
	everything := Request{
		ID: "c1", Name: "web", Netns: "/run/netns/c1", IfName: "eth0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 7},
		IPs:     []netip.Addr{netip.MustParseAddr("10.9.0.7"), netip.MustParseAddr("fd09::7")},
		Aliases: []string{"www", "apache"},
	}
	for _, test := range []struct {
		name    string
		keys    string
		request Request
		want    libcni.RuntimeConf
		args    string
	}{
		{
			"nothing asked for", "", Request{ID: "c1", Netns: "/n", IfName: "eth1"},
			libcni.RuntimeConf{
				ContainerID: "c1", NetNS: "/n", IfName: "eth1", Args: [][2]string{{"IgnoreUnknown", "1"}},
				CapabilityArgs: map[string]any{},
			}, "",
		},
		{
			"capabilities", `, "capabilities": {"ips": true, "mac": true, "aliases": true}`, everything,
			libcni.RuntimeConf{
				ContainerID: "c1", NetNS: "/run/netns/c1", IfName: "eth0",
				Args: [][2]string{{"IgnoreUnknown", "1"}, {"K8S_POD_NAME", "web"}},
				CapabilityArgs: map[string]any{
					"ips": []string{"10.9.0.7", "fd09::7"}, "mac": "02:00:00:00:00:07", "aliases": []string{"www", "apache"},
				},
			}, "",
		},
		{
			"no capability", `, "capabilities": {"ips": false}`, everything,
			libcni.RuntimeConf{
				ContainerID: "c1", NetNS: "/run/netns/c1", IfName: "eth0",
				Args: [][2]string{
					{"IgnoreUnknown", "1"}, {"K8S_POD_NAME", "web"}, {"MAC", "02:00:00:00:00:07"}, {"FAIRWAY_ALIASES", "www,apache"},
				},
				CapabilityArgs: map[string]any{},
			}, `"args":{"cni":{"ips":["10.9.0.7","fd09::7"]}}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			network := networkOf(t, "lamp", test.keys)
			before := string(network.Plugins[0].Bytes)
			conf, rt, err := test.request.configure(network)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&test.want, rt); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if sent := string(conf.Plugins[0].Bytes); !strings.Contains(sent, test.args) || test.args == "" && strings.Contains(sent, "args") {
				t.Errorf("the plugin gets %s, want %s", sent, test.args)
			}
			if after := string(network.Plugins[0].Bytes); after != before {
				t.Errorf("the network was changed to %s", after)
			}
		})
	}
}

func TestNextIfName(t *testing.T) {
	for _, test := range []struct {
		taken []string
		want  string
	}{
		{nil, "eth0"},
		{[]string{"lo", "eth0"}, "eth1"},
		{[]string{"lo", "eth1"}, "eth2"},
		{[]string{"ether9", "eth-1", "eth99999"}, "eth0"},
		{[]string{"eth2", "eth0", "eth1"}, "eth3"},
	} {
		if got := nextIfName(test.taken); got != test.want {
			t.Errorf("beside %v: got %s, want %s", test.taken, got, test.want)
		}
	}
}
