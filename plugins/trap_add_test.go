package plugins

import (
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// TestAddOnAnExistingInterface keeps the first attachment whole: its address is not given back by the ADD that fails.
func TestAddOnAnExistingInterface(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c"))
	result := a.add(t)
	before := a.traces(t)
	wantText(t, "sentence", "interface eth0 exists already in the container: ask for another name in CNI_IFNAME, or remove that one",
		a.fail(t, "ADD", 4))
	a.wantUnchanged(t, before)
	a.after(result).succeed(t, "CHECK")

	other := a.with("name", "other").with("bridge", "br1")
	other.fail(t, "ADD", 4)
	a.wantUnchanged(t, before)
}

// TestFailedAddLeavesNothing makes each ADD fail after the lease, by state of the host or container that is in the way.
func TestFailedAddLeavesNothing(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, a attachment) attachment
		code  uint
		want  string
	}{
		{"the bridge has another address", func(t *testing.T, a attachment) attachment {
			a.host.Sh(t, "ip", "link", "add", "br0", "type", "bridge")
			a.host.Sh(t, "ip", "addr", "add", "10.9.0.1/24", "dev", "br0")
			return a
		}, 7, "br0 has address 10.9.0.1/24, in conflict with the configuration, by which it is 10.1.0.1/24: " +
			"use another bridge, or set forceAddress to replace the address"},
		{"the bridge's name is a veth's", func(t *testing.T, a attachment) attachment {
			a.host.Sh(t, "ip", "link", "add", "br0", "type", "veth", "peer", "name", "br0-peer")
			return a
		}, 7, "link br0 is a veth, in conflict with the configuration: name a bridge in key bridge, or a link that does not exist yet"},
		{"a route without a way", func(_ *testing.T, a attachment) attachment {
			return a.withIPAM("routes", []map[string]any{{"dst": "10.8.0.0/16", "gw": "192.0.2.1"}})
		}, 5, "ip route add 10.8.0.0/16 via 192.0.2.1 dev eth0: network is unreachable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := tt.spoil(t, bridgeOn(t, testnet.NewNS(t, "c")))
			before := a.traces(t)
			wantText(t, "sentence", tt.want, a.fail(t, "ADD", tt.code))
			a.wantUnchanged(t, before)

		})
	}
}

// TestFailedAddReleasesTheLease: the delegate's, by its DEL.
func TestFailedAddReleasesTheLease(t *testing.T) {
	a, d := bridgeOn(t, testnet.NewNS(t, "c")).delegated(t)
	a.host.Sh(t, "ip", "link", "add", "br0", "type", "bridge")
	a.host.Sh(t, "ip", "addr", "add", "10.9.0.1/24", "dev", "br0")
	before := a.traces(t)
	a.fail(t, "ADD", 7)
	d.wantCalls(t, "ADD c eth0", "DEL c eth0")
	a.wantUnchanged(t, before)
}

// TestFailedDelegateIsAskedToClean: the specification wants a DEL after an ADD that failed, and the delegate's own code.
func TestFailedDelegateIsAskedToClean(t *testing.T) {
	for _, tt := range []struct {
		name, file, answer string
		code               uint
		want               string
	}{
		{"with a code", "ADD.error", `{"cniVersion": "1.1.0", "code": 123, "msg": "no luck", "details": "today"}`, 123, "IPAM plugin recorder: no luck; today"},
		{"without a code", "ADD.error", ``, 999, "IPAM plugin recorder: netplugin failed with no error message: exit status 1"},
		{"without an address", "ADD", `{"cniVersion": "1.1.0"}`, 999, "IPAM plugin recorder: result is unusable: it has no address"},
		{"with a null in an older version", "ADD", `{"cniVersion": "0.4.0", "ips": [null]}`, 999,
			"IPAM plugin recorder: result is unusable: ips hold a null"},
		{"with a null route in an older version", "ADD", `{"cniVersion": "0.3.1", "ips": [{"version": "4", "address": "10.7.0.2/24"}], "routes": [null]}`, 999,
			"IPAM plugin recorder: result is unusable: routes hold a null"},
		{"with nothing in the oldest version", "ADD", `{"cniVersion": "0.2.0", "ip4": {"routes": []}}`, 999, "IPAM plugin recorder: result is unusable: ips[0] has no address"},
		{"that is no JSON", "ADD", `10.7.0.2/24`, 6,
			"IPAM plugin recorder: failed to unmarshal raw result: invalid character '.' after top-level value"},
		{"with IPv4 in the form of IPv6", "ADD", `{"cniVersion": "1.1.0", "ips": [{"address": "::ffff:10.8.0.2/120", "gateway": "::ffff:10.8.0.1"}]}`, 999,
			"IPAM plugin recorder: result is unusable: ips[0].address ::ffff:10.8.0.2/120 is of IPv4 in the form of IPv6: it has to be 10.8.0.2"},
		{"with a route to nowhere", "ADD", `{"cniVersion": "1.1.0", "ips": [{"address": "10.7.0.2/24"}], "routes": [{"gw": "10.7.0.1"}]}`, 999,
			"IPAM plugin recorder: result is unusable: routes[0] has no dst"},
		{"with a result, and fails", "ADD.error", delegateResult, 999, "IPAM plugin recorder: failed without a message"},
		{"with a null", "ADD", `{"cniVersion": "1.1.0", "ips": [null]}`, 999,
			"IPAM plugin recorder: result is unusable: ips hold a null"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, d := bridgeOn(t, testnet.NewNS(t, "c")).delegated(t)
			d.answer(t, tt.file, tt.answer)
			before := a.traces(t)
			wantText(t, "sentence", tt.want, a.fail(t, "ADD", tt.code))
			d.wantCalls(t, "ADD c eth0", "DEL c eth0")
			a.wantUnchanged(t, before)
		})
	}
}

// TestDelegateInheritsTheCall: its environment and its configuration are the caller's.
func TestDelegateInheritsTheCall(t *testing.T) {
	a, d := bridgeOn(t, testnet.NewNS(t, "c")).
		withEnv("CNI_ARGS", "IgnoreUnknown=1;MAC=02:00:00:00:00:01").delegated(t)
	result := a.add(t)
	if diff := cmp.Diff("10.7.0.2/24", result.IPs[0].Address.String()); diff != "" {
		t.Errorf("address (-want +got):\n%s", diff)
	}
	a = a.after(result)
	a.succeed(t, "CHECK")
	a.succeed(t, "DEL")
	const who = " c eth0 IgnoreUnknown=1;MAC=02:00:00:00:00:01"
	d.wantCalls(t, "ADD"+who, "CHECK"+who, "DEL"+who)
	for _, verb := range []string{"CHECK", "DEL"} {
		wantText(t, "standard input of "+verb, a.stdin(t), d.stdin(t, verb))
	}
}

// TestDelegateFindsTheLink: dhcp asks for an address through it, and gives it back in the same way.
func TestDelegateFindsTheLink(t *testing.T) {
	bridge := bridgeOn(t, testnet.NewNS(t, "c"))
	macvlan, _ := macvlanOn(t, testnet.NewNS(t, "d"))
	for _, a := range []attachment{bridge, macvlan} {
		t.Run(a.plugin, func(t *testing.T) {
			a, d := a.delegated(t)
			a = a.after(a.add(t))
			a.succeed(t, "CHECK")
			a.succeed(t, "DEL")
			for _, verb := range []string{"ADD", "CHECK", "DEL"} {
				if found := d.links(t, verb); !strings.Contains(found, "eth0@") {
					t.Errorf("links at %s: %q, want eth0", verb, found)
				}
			}
		})
	}
}

// TestClosedPipe: a runtime that has gone does not know of the attachment, so that it is taken back.
func TestClosedPipe(t *testing.T) {
	a, d := bridgeOn(t, testnet.NewNS(t, "c")).delegated(t)
	before := a.traces(t)
	a.addToNobody(t)
	d.wantCalls(t, "ADD c eth0", "DEL c eth0")
	if diff := cmp.Diff(before, a.traces(t).withoutTables()); diff != "" {
		t.Errorf("left behind (-before +after):\n%s", diff)
	}
}

// TestArgsOfOthers: keys of CNI_ARGS that belong to another plugin are not fatal in any.
func TestArgsOfOthers(t *testing.T) {
	for _, plugin := range []string{"bridge", "host-local", "none"} {
		t.Run(plugin, func(t *testing.T) {
			a := bridgeOn(t, testnet.NewNS(t, "c")).
				withEnv("CNI_ARGS", "K8S_POD_NAMESPACE=default;MAC=02:00:00:00:00:01;IP=10.1.0.9;X=")
			a.plugin = plugin
			if plugin == "none" {
				a = a.with("ipam", nil)
			}
			a.add(t)
		})
	}
}
