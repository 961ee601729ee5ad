package plugins

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// withPorts has the plugin publish ports itself.
func (a attachment) withPorts(mappings ...map[string]any) attachment {
	return a.with("capabilities", map[string]bool{"portMappings": true}).with("runtimeConfig", map[string]any{"portMappings": mappings})
}

// TestPortsOfTheBridge: the plugin publishes as portmap would, DEL needs no ports, and from outside nothing else leads in.
func TestPortsOfTheBridge(t *testing.T) {
	container := testnet.NewNS(t, "c")
	a := bridgeOn(t, container).withPorts(mapping(8080, 80))
	outside := outsideOf(t, a.host)
	a = a.after(a.add(t))
	a.succeed(t, "CHECK")
	listen(t, container, ":80")
	for _, at := range []string{"192.0.2.1:8080", "10.1.0.1:8080"} {
		wantText(t, "who answers outside at "+at, "c", whoAnswers(outside, at, 10*time.Second))
		wantText(t, "who answers the container at "+at, "c", whoAnswers(container, at, 10*time.Second))
		wantText(t, "who answers the host at "+at, "c", whoAnswers(a.host, at, 10*time.Second))
	}
	wantText(t, "who answers the host's loopback", "c", whoAnswers(a.host, "127.0.0.1:8080", 10*time.Second))
	wantText(t, "who answers the container's own address, from outside", "", whoAnswers(outside, "10.1.0.2:80", 300*time.Millisecond))
	wantText(t, "who answers the container's own address, on the host", "c", whoAnswers(a.host, "10.1.0.2:80", 10*time.Second))
	bare := a.with("runtimeConfig", nil).with("prevResult", nil).withEnv("CNI_NETNS", "")
	bare.succeed(t, "DEL")
	bare.succeed(t, "DEL")
	if got := append(a.elements(t), a.reservations(t)...); len(got) > 0 {
		t.Errorf("left after DEL: %v", got)
	}
}

// outsideOf is a neighbour of the host, which routes to it.
func outsideOf(t *testing.T, host *testnet.Namespace) *testnet.Namespace {
	t.Helper()
	outside := testnet.NewNS(t, "outside")
	host.Sh(t, "ip", "link", "set", "lo", "up")
	host.Sh(t, "ip", "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", outside.Path)
	host.Sh(t, "ip", "addr", "add", "192.0.2.1/24", "dev", "up0")
	host.Sh(t, "ip", "link", "set", "up0", "up")
	outside.Sh(t, "ip", "addr", "add", "192.0.2.2/24", "dev", "eth0")
	outside.Sh(t, "ip", "link", "set", "eth0", "up")
	outside.Sh(t, "ip", "route", "add", "default", "via", "192.0.2.1")
	return outside
}

// TestPortsOnce: without the capability in its own entry, the plugin leaves ports to one behind it.
func TestPortsOnce(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c")).with("runtimeConfig", map[string]any{"portMappings": []any{mapping(8080, 80)}})
	result := a.add(t)
	if got := a.host.Sh(t, "nft", "list", "tables"); strings.Contains(got, "fairway_ports") {
		t.Errorf("tables:\n%s", got)
	}
	port := a.publishing(result, mapping(8080, 80))
	port.after(port.add(t)).succeed(t, "CHECK")
	a.after(result).succeed(t, "CHECK")
}

// TestPortConflictOfTheBridge leaves nothing of the second container, whose address is given back.
func TestPortConflictOfTheBridge(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c")).withPorts(mapping(8080, 80))
	a.add(t)
	b := a.on(testnet.NewNS(t, "d"), "eth0")
	before := b.traces(t)
	wantText(t, "sentence", "port 8080/tcp is already published by container c of network net, in conflict with the configuration: "+
		"stop that one, or choose another port of the host", b.fail(t, "ADD", 7))
	b.wantUnchanged(t, before)
}

// TestPortsOfTheRouted: `routed` opens the containers' own addresses, and so does a network that does not masquerade.
func TestPortsOfTheRouted(t *testing.T) {
	for _, key := range []string{"routed", "ipMasq"} {
		t.Run(key, func(t *testing.T) {
			container := testnet.NewNS(t, "c")
			a := bridgeOn(t, container).withPorts(mapping(8080, 80)).with(key, key == "routed")
			outside := outsideOf(t, a.host)
			a.after(a.add(t)).succeed(t, "CHECK")
			listen(t, container, ":80")
			wantText(t, "who answers by the container's address", "c", whoAnswers(outside, "10.1.0.2:80", 10*time.Second))
			wantText(t, "who answers by the port", "c", whoAnswers(outside, "192.0.2.1:8080", 10*time.Second))
		})
	}
}

// TestPortsWithoutIPv6: on a host that has turned IPv6 off, a dual-stack network publishes by IPv4, by bridge or by the list, and leaves nothing.
func TestPortsWithoutIPv6(t *testing.T) {
	for _, alone := range []bool{true, false} {
		t.Run(map[bool]string{true: "bridge alone", false: "list"}[alone], func(t *testing.T) {
			container := testnet.NewNS(t, "c")
			a := bridgeOn(t, container).with("ipam", hostLocal(t.TempDir(), "10.1.0.0/24", "fd00:1::/64"))
			outside := outsideOf(t, a.host)
			a.host.Sh(t, "sh", "-ec", "for i in all default; do echo 1 > /proc/sys/net/ipv6/conf/$i/disable_ipv6; done")
			list := chainOf{a.withPorts(mapping(8080, 80))}
			if !alone {
				list = chainOf{a, a.publishing(nil, mapping(8080, 80)), a.behind(nil, "firewall", map[string]any{"ingressPolicy": "same-bridge"})}
			}
			result := list.add(t)
			list.check(t, result)
			listen(t, container, ":80")
			wantText(t, "who answers outside", "c", whoAnswers(outside, "192.0.2.1:8080", 10*time.Second))
			wantText(t, "who answers the host's loopback", "c", whoAnswers(a.host, "127.0.0.1:8080", 10*time.Second))
			list.del(t, result)
			if left := a.rulesLeft(t); strings.Contains(left, "fairway net") || len(a.reservations(t)) > 0 {
				t.Errorf("left: %v\n%s", a.reservations(t), left)
			}
		})
	}
}

// TestPortsAfterGC: what a lost DEL has left goes with GC, and the ports are free again.
func TestPortsAfterGC(t *testing.T) {
	a := bridgeOn(t, testnet.NewNS(t, "c")).withPorts(mapping(8080, 80))
	a.add(t)
	a.gcCall().with("cni.dev/valid-attachments", alive("x")).succeed(t, "GC")
	if diff := cmp.Diff([]string(nil), a.elements(t)); diff != "" {
		t.Errorf("elements after GC (-want +got):\n%s", diff)
	}
	a.on(testnet.NewNS(t, "d"), "eth0").add(t)
}

// TestPortsOfOthersAreNotListed: what a DEL is told by the kernel does not grow with what other containers have published.
func TestPortsOfOthersAreNotListed(t *testing.T) {
	few := bridgeOn(t, testnet.NewNS(t, "c")).withPorts(mapping(8080, 80))
	told := func() (bytes int) {
		few.add(t)
		log, _, err := few.traced(t, "DEL", "-e", "trace=recvfrom")
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(log), "\n") {
			_, size, _ := strings.Cut(line, ") = ")
			n, _ := strconv.Atoi(strings.TrimSpace(size))
			bytes += n
		}
		return bytes
	}
	alone := told()
	var mappings []map[string]any
	for i := range 2000 {
		mappings = append(mappings, mapping(10000+i, 80))
	}
	others := few.on(testnet.NewNS(t, "d"), "eth0").withPorts(mappings...)
	others.add(t)
	if beside := told(); alone == 0 || beside > alone+alone/2 {
		t.Errorf("%d bytes beside 2000 ports of another, %d without", beside, alone)
	}
	others.succeed(t, "DEL")
	if got := few.elements(t); len(got) > 0 {
		t.Errorf("left after DEL: %v", got)
	}
}
