package plugins

import (
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// versions are those of the specification's releases.
func versions() []string {
	return []string{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}
}

// TestVersionEchoesTheCallers cniVersion, be it one that no plugin knows yet. Runtimes of 0.1.0 send nothing.
func TestVersionEchoesTheCallers(t *testing.T) {
	host := testnet.NewNS(t, "host")
	for _, plugin := range append([]string{"bridge", "host", "macvlan", "none", "loopback", "host-local"}, chained...) {
		a := attachment{host: host, plugin: plugin}
		for _, v := range append(versions(), "9.9.9") {
			wantVersion(t, a.runWith(t, "VERSION", `{"cniVersion": "`+v+`"}`), v)
			wantVersion(t, a.runWith(t, "VERSION", `{"cniVersion": "`+v+`", "name": "net", "type": "bridge"}`), v)
		}
		for _, garbage := range []string{"", "garbage", "[]", `{"cniVersion": 1}`, `{"cniVersion"`, "\x00"} {
			wantVersion(t, a.runWith(t, "VERSION", garbage), "1.1.0")
		}
	}
}

func wantVersion(t *testing.T, got answer, version string) {
	t.Helper()
	type document struct {
		CNIVersion        string
		SupportedVersions []string
	}
	var found document
	decodeOne(t, got.stdout, &found)
	if diff := cmp.Diff(document{version, versions()}, found); diff != "" || got.code != 0 {
		t.Errorf("exit status %d (-want +got):\n%s", got.code, diff)
	}
}

// TestByHand: a person who runs a plugin is told what it is, on standard error.
func TestByHand(t *testing.T) {
	host := testnet.NewNS(t, "host")
	for _, plugin := range append([]string{"bridge", "host", "macvlan", "none", "host-local"}, chained...) {
		got := attachment{host: host, plugin: plugin}.runWith(t, "", "")
		if got.code != 0 || got.stdout != "" || !strings.HasPrefix(got.stderr, plugin+": CNI plugin of fairway ") {
			t.Errorf("%s: got %+v", plugin, got)
		}
	}
}

// TestResultOfEachVersion: every version has its own form, and its errors name it.
func TestResultOfEachVersion(t *testing.T) {
	for _, v := range versions() {
		t.Run(v, func(t *testing.T) {
			a := bridgeOn(t, testnet.NewNS(t, "c")).with("cniVersion", v)
			got := a.run(t, "ADD")
			var result struct {
				CNIVersion string
				IP4        *struct{ IP string }
				Interfaces []map[string]any
				IPs        []map[string]any
			}
			decodeOne(t, got.stdout, &result)
			if result.CNIVersion != v || got.code != 0 {
				t.Fatalf("exit status %d\n%s", got.code, got.stdout)
			}
			switch {
			case v < "0.3.0":
				wantText(t, "ip4.ip", "10.1.0.2/24", result.IP4.IP)
			default:
				wantText(t, "ips[0].address", "10.1.0.2/24", result.IPs[0]["address"].(string))
				if _, has := result.IPs[0]["version"]; has != (v < "1.0.0") {
					t.Errorf("ips[0].version: present %v", has)
				}
			}
			for _, i := range result.Interfaces {
				if _, has := i["mtu"]; has != (v == "1.1.0") {
					t.Errorf("mtu of %s: present %v", i["name"], has)
				}
			}
			a.fail(t, "ADD", 4)
			a.succeed(t, "DEL")
		})
	}
}

// TestVerbOfALaterVersion is refused with the code for versions.
func TestVerbOfALaterVersion(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c"))
	for _, plugin := range append([]string{"bridge", "host", "macvlan", "none", "host-local"}, chained...) {
		a.plugin = plugin
		a.with("cniVersion", "0.3.1").fail(t, "CHECK", 1)
		a.with("cniVersion", "1.0.0").fail(t, "GC", 1)
		a.with("cniVersion", "1.0.0").fail(t, "STATUS", 1)
		a.with("cniVersion", "1.2.0").fail(t, "ADD", 1)
	}
}

// TestResultThatFitsNoOldVersion: before 0.3.0 a result needs an address. The attachment is taken back.
func TestResultThatFitsNoOldVersion(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c")).with("ipam", nil).with("macspoofchk", nil).with("cniVersion", "0.2.0")
	before := a.traces(t)
	if said := a.fail(t, "ADD", 1); !strings.HasPrefix(said, "result does not fit cniVersion 0.2.0: set a later one: ") {
		t.Errorf("sentence: %q", said)
	}
	a.wantUnchanged(t, before)
}
