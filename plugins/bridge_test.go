package plugins

import (
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// TestMTUOfThePath: without the key, links get the MTU of the way to the outside.
func TestMTUOfThePath(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c"))
	a.host.Sh(t, "ip", "link", "add", "uplink", "type", "veth", "peer", "name", "outside")
	a.host.Sh(t, "ip", "link", "set", "uplink", "mtu", "1380", "up")
	a.host.Sh(t, "ip", "link", "set", "outside", "up")
	a.host.Sh(t, "ip", "addr", "add", "192.0.2.2/24", "dev", "uplink")
	a.host.Sh(t, "ip", "route", "add", "default", "via", "192.0.2.1")
	for _, i := range a.add(t).Interfaces {
		if i.Mtu != 1380 {
			t.Errorf("MTU of %s: got %d, want 1380", i.Name, i.Mtu)
		}
	}
	for _, i := range a.with("name", "net2").with("bridge", "br2").with("mtu", 1300).withIPAM("ranges",
		[][]map[string]string{{{"subnet": "10.2.0.0/24"}}}).on(testnet.NewNS(t, "d"), "eth0").add(t).Interfaces {
		if i.Mtu != 1300 {
			t.Errorf("MTU of %s: got %d, want 1300", i.Name, i.Mtu)
		}
	}
}

// TestSameAgain: an attachment has the same names and MACs whenever it is made, and the bridge keeps its own.
func TestSameAgain(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c"))
	first := a.add(t)
	a.succeed(t, "DEL")
	other := a.on(testnet.NewNS(t, "a"), "eth0")
	other.add(t)
	second := a.add(t)
	for i := range 3 {
		if i != 1 { // the kernel chooses the MAC of the host's end, which no frame carries
			wantText(t, "MAC of "+first.Interfaces[i].Name, first.Interfaces[i].Mac, second.Interfaces[i].Mac)
		}
		wantText(t, "interface", first.Interfaces[i].Name, second.Interfaces[i].Name)
	}
}

// TestWarning goes to standard error; standard output has the result alone.
func TestWarning(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c")).with("ipMasqBackend", "iptables")
	got := a.run(t, "ADD")
	decodeOne(t, got.stdout, &struct{}{})
	if !strings.Contains(got.stderr, "ipMasqBackend iptables is answered with nftables") || got.code != 0 {
		t.Errorf("exit status %d, standard error %q", got.code, got.stderr)
	}
	if diff := cmp.Diff([]string{"fairway net c eth0"}, a.elements(t)); diff != "" {
		t.Errorf("elements (-want +got):\n%s", diff)
	}
}

// TestDNS: that of the configuration, or else the lease's.
func TestDNS(t *testing.T) {
	a, d := bridgeOn(t, testnet.NewNS(t, "c")).delegated(t)
	d.answer(t, "ADD", `{"cniVersion": "1.1.0", "ips": [{"address": "10.7.0.2/24"}], "dns": {"nameservers": ["10.7.0.3"]}}`)
	wantText(t, "nameserver of the lease", "10.7.0.3", a.add(t).DNS.Nameservers[0])
	a.succeed(t, "DEL")
	a = a.with("dns", map[string]any{"nameservers": []string{"10.9.9.9"}})
	wantText(t, "nameserver of the configuration", "10.9.9.9", a.add(t).DNS.Nameservers[0])
}
