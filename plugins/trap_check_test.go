package plugins

import (
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestCheckNeedsPrevResult(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c"))
	a.add(t)
	wantText(t, "sentence", "prevResult is missing: pass on the result of ADD, which CHECK compares with", a.fail(t, "CHECK", 7))
}

// TestCheckOfLayer2: a network without addresses is checked as any other.
func TestCheckOfLayer2(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c")).with("ipam", nil)
	a = a.after(a.add(t))
	a.succeed(t, "CHECK")
	a.succeed(t, "DEL")
	a.fail(t, "CHECK", 100)
}

// TestCheckOfADisabledInterface: what is meant to be down is no drift.
func TestCheckOfADisabledInterface(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c")).with("ipam", nil).with("disableContainerInterface", true)
	a.after(a.add(t)).succeed(t, "CHECK")
}

// TestCheckToleratesAChain: plugins after ours may change the interface, and say so in the result.
func TestCheckToleratesAChain(t *testing.T) {
	container := testnet.NewNS(t, "c")
	a := bridgeOn(t, container)
	result := a.add(t)
	container.Sh(t, "ip", "link", "set", "eth0", "mtu", "1300", "promisc", "on", "address", "02:00:00:00:00:77")
	a.host.Sh(t, "ip", "link", "set", "br0", "promisc", "on")
	container.Sh(t, "ip", "route", "del", "default")
	container.Sh(t, "ip", "route", "add", "10.5.0.0/16", "via", "10.1.0.3")

	recorded := interfaceOf(t, result, "eth0")
	recorded.Mac, recorded.Mtu = "02:00:00:00:00:77", 1300
	result.Routes = nil
	a.with("isDefaultGateway", false).with("isGateway", true).after(result).succeed(t, "CHECK")
}

// TestCheckBelievesTheResult: a change that nobody has recorded is drift.
func TestCheckBelievesTheResult(t *testing.T) {
	container := testnet.NewNS(t, "c")
	a := bridgeOn(t, container)
	result := a.add(t)
	mac := interfaceOf(t, result, "eth0").Mac
	container.Sh(t, "ip", "link", "set", "eth0", "address", "02:00:00:00:00:77")
	wantText(t, "sentence", "drift: eth0 has MAC 02:00:00:00:00:77 instead of "+mac, a.after(result).fail(t, "CHECK", 100))
}

// TestCheckReportsAllDrift at once, whatever kind of state it is.
func TestCheckReportsAllDrift(t *testing.T) {
	container := testnet.NewNS(t, "c")
	a := bridgeOn(t, container)
	result := a.add(t)
	port := result.Interfaces[1].Name
	container.Sh(t, "ip", "addr", "flush", "dev", "eth0")
	a.host.Sh(t, "ip", "link", "set", port, "nomaster")
	a.host.Sh(t, "ip", "addr", "flush", "dev", "br0")
	a.host.Sh(t, "nft", "flush", "map", "inet", "fairway", "masquerade_from4")
	a.releaseByHand(t)
	wantText(t, "sentence", "drift: br0 has no address 10.1.0.1/24; "+
		"drift: "+port+" is not a port of br0; "+
		"drift: eth0 has no address 10.1.0.2/24; "+
		"drift: no route to 0.0.0.0/0 via 10.1.0.1 through eth0; "+
		`drift: nftables set masquerade_from4 has no element of "fairway net c eth0"; `+
		"no address of network net is reserved for container c interface eth0: run DEL and ADD again",
		a.after(result).fail(t, "CHECK", 100))
}

func interfaceOf(t *testing.T, result *types100.Result, name string) *types100.Interface {
	t.Helper()
	for _, i := range result.Interfaces {
		if i.Name == name {
			return i
		}
	}
	t.Fatalf("result has no interface %s: %v", name, result.Interfaces)
	return nil
}

// releaseByHand releases the address behind the plugin's back.
func (a attachment) releaseByHand(t *testing.T) {
	t.Helper()
	a.plugin = "host-local"
	a.succeed(t, "DEL")
}
