package plugins

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// slowDetection is how many probes duplicate address detection sends, one a second, in the containers of these tests: whatever it is
// done for does not become usable while a test runs.
const slowDetection = "100"

// TestLinkLocalIsUsable: whoever listens on the link-local address of a container's interface, or of a link that the host has for it, can
// do so when the container starts, whatever plugin made it, with addresses of either family, both or none; and again when
// somebody has taken it down and up.
func TestLinkLocalIsUsable(t *testing.T) {
	for name, on := range attachingLinks() {
		t.Run(name, func(t *testing.T) {
			a := on(t)
			detecting(t, a).add(t)
			container := &testnet.Namespace{Path: a.env["CNI_NETNS"]}
			for _, link := range tentativeLinks(t, a.host) {
				t.Errorf("the host's link %s waits for detection", link)
			}
			if got := addressesOnceUsable(t, container); !strings.Contains(got, "fe80:") || strings.Contains(got, "tentative") {
				t.Errorf("addresses after ADD:\n%s", got)
			}
			container.Sh(t, "sh", "-ec", "ip link set eth0 down; ip link set eth0 up")
			if got := addressesOnceUsable(t, container); !strings.Contains(got, "fe80:") || strings.Contains(got, "tentative") {
				t.Errorf("addresses after it was taken down and up:\n%s", got)
			}
		})
	}
}

// TestDetectionIsOnWhereAskedFor, for the link-local address as for others.
func TestDetectionIsOnWhereAskedFor(t *testing.T) {
	for _, name := range []string{"bridge", "macvlan"} {
		t.Run(name, func(t *testing.T) {
			a := attachingLinks()[name](t).with("enabledad", true)
			detecting(t, a).add(t)
			container := &testnet.Namespace{Path: a.env["CNI_NETNS"]}
			time.Sleep(time.Second)
			if got := container.Sh(t, "ip", "-6", "addr", "show", "dev", "eth0"); !strings.Contains(got, "scope link tentative") {
				t.Errorf("addresses after ADD:\n%s", got)
			}
		})
	}
}

// TestForwardedIPv6Arrives: a packet from outside reaches a container that has just been attached and has said nothing yet. Without a
// usable address of its own on the link, the host would not ask for the container's MAC.
func TestForwardedIPv6Arrives(t *testing.T) {
	for name, on := range attachingLinks() {
		if name != "bridge" && name != "ptp" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			a := ipam(on, "10.1.0.0/24", "fd01::/64")(t).withIPAM("routes", []map[string]string{{"dst": "::/0"}})
			outside := outsideOf(t, a.host)
			a.host.Sh(t, "sh", "-ec", "ip addr add fd09::1/64 dev up0 nodad; sysctl -q -w net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.dad_transmits="+slowDetection)
			outside.Sh(t, "sh", "-ec", "ip addr add fd09::2/64 dev eth0 nodad; ip route add default via fd09::1")
			testnet.Sh(t, "sleep", "2") // up0's own detection
			a.add(t)
			outside.Sh(t, "busybox", "ping", "-6", "-c", "1", "-W", "20", "fd01::2")
		})
	}
}

// attachingLinks is attachments that have an interface: each plugin's with IPv4 alone, and those of bridge and macvlan with other
// addresses as well.
func attachingLinks() map[string]func(t *testing.T) attachment {
	all := everyAttaching()
	delete(all, "none")
	delete(all, "host-local")
	for name := range maps.Clone(all) {
		if name == "bridge" || name == "macvlan" {
			all[name] = ipam(all[name], "10.1.0.0/24")
			all[name+" of both families"] = ipam(all[name], "10.1.0.0/24", "fd01::/64")
			all[name+" of layer 2"] = ipam(all[name])
		}
	}
	all["macvlan passthru"] = func(t *testing.T) attachment {
		return all["macvlan"](t).with("mode", "passthru").with("hostAccess", nil).with("mac", "02:00:00:00:00:0c")
	}
	return all
}

// ipam gives an attachment ranges; none are layer 2.
func ipam(on func(t *testing.T) attachment, subnets ...string) func(t *testing.T) attachment {
	return func(t *testing.T) attachment {
		if len(subnets) > 0 {
			return on(t).with("ipam", hostLocal(t.TempDir(), subnets...))
		}
		return on(t).with("ipam", nil).with("isDefaultGateway", nil).with("hostAccess", nil).with("ipMasq", nil)
	}
}

// detecting makes duplicate address detection of links that are made take its time.
func detecting(t *testing.T, a attachment) attachment {
	t.Helper()
	a.host.Sh(t, "sh", "-ec", "sleep 2.5; sysctl -q -w net.ipv6.conf.default.dad_transmits="+slowDetection) // that of links which are there has ended
	(&testnet.Namespace{Path: a.env["CNI_NETNS"]}).Sh(t, "sysctl", "-q", "-w", "net.ipv6.conf.default.dad_transmits="+slowDetection)
	return a
}

// tentativeLinks is the links of a host whose addresses do not become usable. Ports of a bridge have addresses that nobody uses.
func tentativeLinks(t *testing.T, host *testnet.Namespace) (found []string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		found = nil
		for line := range strings.Lines(host.Sh(t, "ip", "-6", "-o", "addr", "show", "tentative")) {
			link := strings.Fields(line)[1]
			if !strings.Contains(host.Sh(t, "ip", "-o", "link", "show", "dev", link), " master ") {
				found = append(found, link)
			}
		}
		if len(found) == 0 || time.Now().After(deadline) {
			return found
		}
	}
}

// patience is for what the kernel does by itself, on a busy host: a quarter of the time that detection takes.
const patience = 25 * time.Second

// addressesOnceUsable is the IPv6 addresses of eth0 when the kernel has given it one, and none is tentative: it does so when it has
// heard of the carrier, by itself.
func addressesOnceUsable(t *testing.T, container *testnet.Namespace) string {
	t.Helper()
	var got string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		got = container.Sh(t, "ip", "-6", "-o", "addr", "show", "dev", "eth0")
		if strings.Contains(got, "fe80:") && !strings.Contains(got, "tentative") {
			break
		}
	}
	return got
}
