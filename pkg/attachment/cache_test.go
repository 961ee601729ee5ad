package attachment

import (
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/google/go-cmp/cmp"
)

// entry is a file of libcni's cache (kind cniCacheV1).
type entry struct {
	Kind           string          `json:"kind"`
	ContainerID    string          `json:"containerId"`
	Config         []byte          `json:"config"`
	IfName         string          `json:"ifName"`
	NetworkName    string          `json:"networkName"`
	Netns          string          `json:"netns,omitempty"`
	Args           [][2]string     `json:"cniArgs,omitempty"`
	CapabilityArgs map[string]any  `json:"capabilityArgs,omitempty"`
	Result         json.RawMessage `json:"result,omitempty"`
}

func (r Runtime) record(t *testing.T, e entry) {
	t.Helper()
	e.Kind = "cniCacheV1"
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	r.file(t, e.NetworkName+"-"+e.ContainerID+"-"+e.IfName, text)
}

func (r Runtime) file(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(r.dir(), resultsDir), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Join(r.dir(), resultsDir), name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestListOfOtherRuntimes reads what podman, CRI, nerdctl and an old runtime have written.
func TestListOfOtherRuntimes(t *testing.T) {
	_, r := newPlugin(t)
	r.record(t, entry{ // podman 4.3: aliases by network, a name twice
		ContainerID: "5e7f", NetworkName: "boxes", IfName: "eth0", Netns: "/run/netns/netns-1",
		Args: [][2]string{{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", "db"}, {"K8S_POD_NAME", "db"}},
		CapabilityArgs: map[string]any{
			"aliases": map[string][]string{"boxes": {"mysql", "5e7f"}, "other": {"no"}}, "portMappings": nil,
		},
		Result: json.RawMessage(`{"cniVersion": "1.0.0", "interfaces": [{"name": "boxes0"}, {"name": "veth1"},
			{"name": "eth0", "mac": "02:00:00:00:00:09", "sandbox": "/run/netns/netns-1"}],
			"ips": [{"interface": 2, "address": "10.88.0.2/16", "gateway": "10.88.0.1"}, {"interface": 2, "address": "fd88::2/64"}]}`),
	})
	r.record(t, entry{ // containerd 1.6: the namespace is in the result only
		ContainerID: "6f00", NetworkName: "boxes", IfName: "eth0",
		Result: json.RawMessage(`{"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "/run/netns/cni-2"}]}`),
	})
	r.record(t, entry{ // nerdctl
		ContainerID: "default-77aa", NetworkName: "lamp", IfName: "eth0", Netns: "/proc/77/ns/net",
		Args: [][2]string{{"IgnoreUnknown", "1"}, {"NERDCTL_CNI_DHCP_HOSTNAME", "web"}, {"IP", ""}},
	})
	r.record(t, entry{ // CNI 0.2.0 knows no interfaces
		ContainerID: "9", NetworkName: "lamp", IfName: "eth0", Result: json.RawMessage(`{"cniVersion": "0.2.0", "ip4": {"ip": "10.4.0.9/24"}}`),
	})
	r.file(t, "torn", []byte(`{"kind": "cniCache`)) // its writer was killed
	r.file(t, "legacy", []byte(`{"cniVersion": "0.3.1"}`))

	got, err := r.List()
	if err != nil {
		t.Fatal(err)
	}
	want := []Attachment{
		{Network: "boxes", ID: "6f00", IfName: "eth0", Netns: "/run/netns/cni-2"},
		{
			Network: "boxes", ID: "5e7f", IfName: "eth0", Netns: "/run/netns/netns-1", Name: "db", Aliases: []string{"mysql", "5e7f"},
			MAC:       net.HardwareAddr{2, 0, 0, 0, 0, 9},
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.88.0.2/16"), netip.MustParsePrefix("fd88::2/64")},
			Gateways:  []netip.Addr{netip.MustParseAddr("10.88.0.1")},
		},
		{Network: "lamp", ID: "9", IfName: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.4.0.9/24")}},
		{Network: "lamp", ID: "default-77aa", IfName: "eth0", Netns: "/proc/77/ns/net", Name: "web"},
	}
	if diff := cmp.Diff(want, got, comparable); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestListNamesContainers: a name in the record is the container's, a host name is not where the runtime knows better, and nobody is asked
// when each record tells.
func TestListNamesContainers(t *testing.T) {
	_, r := newPlugin(t)
	asked := 0
	r.Names = func() map[string]string {
		asked++
		return map[string]string{"default-77aa": "web", "default-88bb": "db", "5e7f": "other"}
	}
	r.record(t, entry{ContainerID: "5e7f", NetworkName: "boxes", IfName: "eth0", Args: [][2]string{{"K8S_POD_NAME", "pod"}}})
	if _, err := r.List(); err != nil || asked != 0 {
		t.Errorf("%v, asked %d times", err, asked)
	}
	r.record(t, entry{ContainerID: "default-77aa", NetworkName: "boxes", IfName: "eth0"})
	r.record(t, entry{ContainerID: "default-88bb", NetworkName: "boxes", IfName: "eth0", Args: [][2]string{{"NERDCTL_CNI_DHCP_HOSTNAME", "host"}}})
	r.record(t, entry{ContainerID: "default-99cc", NetworkName: "boxes", IfName: "eth0"})
	all, err := r.List()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range all {
		names = append(names, a.ID+" "+a.DisplayName())
	}
	want := []string{"default-88bb db", "default-99cc default-99cc", "5e7f pod", "default-77aa web"}
	if diff := cmp.Diff(want, names); diff != "" || asked != 1 {
		t.Errorf("asked %d times (-want +got):\n%s", asked, diff)
	}
}

func TestListWithoutCache(t *testing.T) {
	r := Runtime{Cache: filepath.Join(t.TempDir(), "none")}
	if all, err := r.List(); err != nil || len(all) != 0 {
		t.Errorf("got %v, %v; want none", all, err)
	}
}

// TestConfigurationOfASinglePlugin: a runtime may attach by one plugin, without a list.
func TestConfigurationOfASinglePlugin(t *testing.T) {
	p, r := newPlugin(t)
	r.record(t, entry{ContainerID: "c1", NetworkName: "one", IfName: "eth0", Config: []byte(`{"cniVersion": "1.0.0", "name": "one", "type": "noting"}`)})
	r.record(t, entry{ContainerID: "c1", NetworkName: "odd", IfName: "eth0", Config: []byte(`{}`)})
	all, err := r.List()
	if err != nil {
		t.Fatal(err)
	}
	var warnings []error
	r.Warn = func(err error) { warnings = append(warnings, err) }
	// It is a dead end to nobody: what cannot be read, and stands in no file either, is set aside.
	if err := r.Detach(t.Context(), all[0]); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Error(), "odd-c1-eth0") {
		t.Errorf("%s: a configuration without a plugin: %v, warnings %v", all[0].Network, err, warnings)
	}
	if err := r.Detach(t.Context(), all[1]); err != nil {
		t.Errorf("%s: %v", all[1].Network, err)
	}
	if left, err := r.List(); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if diff := cmp.Diff([]string{"DEL c1 eth0"}, p.calls(t)); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// TestRecordOfImpossibleNames: names of a record become paths, so that one with names which no runtime can have given is damaged.
func TestRecordOfImpossibleNames(t *testing.T) {
	p, r := newPlugin(t)
	var warnings []error
	r.Warn = func(err error) { warnings = append(warnings, err) }
	outside := filepath.Join(t.TempDir(), "outside")
	for name, e := range map[string]entry{
		"network":   {ContainerID: "c1", NetworkName: "../../" + outside, IfName: "eth0"},
		"container": {ContainerID: "../../etc", NetworkName: "lamp", IfName: "eth0"},
		"interface": {ContainerID: "c1", NetworkName: "lamp", IfName: "../x"},
	} {
		e.Kind, e.Config, e.Netns = "cniCacheV1", networkOf(t, "lamp", "").Bytes, filepath.Join(t.TempDir(), "gone")
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		r.file(t, name, text)
	}
	if removed, err := r.Collect(t.Context(), []*libcni.NetworkConfigList{networkOf(t, "lamp", "")}); err != nil || len(removed) > 0 || len(warnings) != 3 {
		t.Errorf("removed %v, error %v, warnings %v", removed, err, warnings)
	}
	if calls := p.calls(t); !cmp.Equal(calls, []string{"GC"}) {
		t.Errorf("calls: %q", calls)
	}
	if damaged, err := r.Damaged(); err != nil || len(damaged) > 0 {
		t.Errorf("left: %v, %v", damaged, err)
	}
}
