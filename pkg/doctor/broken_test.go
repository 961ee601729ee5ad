package doctor_test

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/doctor"
	"github.com/fairway-cni/fairway/pkg/state/ports"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

const (
	warning = doctor.Warning
	wrong   = doctor.Error
)

// Each test here breaks a host in one way, and the check of that name has to see it; before, it has to see nothing.

func TestForwardingOff(t *testing.T) {
	h := newHost(t)
	h.bridge(t, "blue", "10.4.0.0/24")
	testnet.Sh(t, "sysctl", "-q", "-w", "net.ipv4.ip_forward=0")
	h.finds(t, "forwarding") // nobody needs it yet
	h.attach(t, "blue", "web")
	h.finds(t, "forwarding")
	testnet.Sh(t, "sysctl", "-q", "-w", "net.ipv4.ip_forward=0")
	h.finds(t, "forwarding", finding{wrong, "sysctl -w net.ipv4.ip_forward=1"})
}

func TestForwardingOff6(t *testing.T) {
	h := newHost(t)
	h.bridge(t, "six", "fd04::/64")
	h.attach(t, "six", "web")
	h.finds(t, "forwarding")
	testnet.Sh(t, "sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=0")
	h.finds(t, "forwarding", finding{wrong, "does not forward IPv6, which containers of six need"})
}

// TestForwardingEndsRouters: a host that forwards takes no more router advertisements, unless it is told to.
func TestForwardingEndsRouters(t *testing.T) {
	h := newHost(t)
	testnet.Sh(t, "ip", "link", "add", "wan0", "up", "type", "ifb")
	testnet.Sh(t, "ip", "addr", "add", "fd99::5/64", "dev", "wan0", "valid_lft", "3600", "preferred_lft", "3600")
	h.finds(t, "forwarding")
	testnet.Sh(t, "sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=1")
	h.finds(t, "forwarding", finding{warning, "sysctl -w net/ipv6/conf/wan0/accept_ra=2"})
	testnet.Sh(t, "sysctl", "-q", "-w", "net.ipv6.conf.wan0.accept_ra=2")
	h.finds(t, "forwarding")
	testnet.Sh(t, "sysctl", "-q", "-w", "net.ipv6.conf.wan0.accept_ra=1")
	testnet.Sh(t, "ip", "-6", "route", "add", "default", "via", "fd99::1", "dev", "wan0")
	h.finds(t, "forwarding")
}

func TestForwardingOffForInternal(t *testing.T) {
	h := newHost(t)
	h.bridge(t, "dark", "10.5.0.0/24", `"internal": true`)
	h.attach(t, "dark", "job")
	testnet.Sh(t, "sysctl", "-q", "-w", "net.ipv4.ip_forward=0")
	h.finds(t, "forwarding")
}

func TestFirewallDrops(t *testing.T) {
	h := newHost(t)
	h.bridge(t, "blue", "10.4.0.0/24")
	h.attach(t, "blue", "web")
	h.finds(t, "firewall")
	testnet.Sh(t, "nft", "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }")
	h.finds(t, "firewall", finding{wrong, "iptables -I FORWARD -i blue0 -j ACCEPT"})
	testnet.Sh(t, "nft", `insert rule ip filter FORWARD iifname "other0" accept`)
	h.finds(t, "firewall", finding{wrong, "what containers of network blue send to the outside by up0 is dropped by the policy of chain ip filter FORWARD"})
	testnet.Sh(t, "nft", `insert rule ip filter FORWARD iifname "blu*" accept`)
	h.finds(t, "firewall", finding{wrong, "what comes back to containers of network blue by up0 is dropped"})
	testnet.Sh(t, "nft", `insert rule ip filter FORWARD ct state established accept`)
	h.finds(t, "firewall")
}

func TestFirewallOfIptablesLegacy(t *testing.T) {
	h := newHost(t)
	h.bridge(t, "blue", "10.4.0.0/24")
	h.attach(t, "blue", "web")
	testnet.Sh(t, "iptables-legacy", "--wait", "-P", "FORWARD", "DROP")
	h.finds(t, "firewall", finding{wrong, "iptables-legacy -I FORWARD -i blue0 -j ACCEPT"})
	testnet.Sh(t, "iptables-legacy", "--wait", "-I", "FORWARD", "-i", "blue0", "-j", "ACCEPT")
	testnet.Sh(t, "iptables-legacy", "--wait", "-I", "FORWARD", "-o", "blue0", "-j", "ACCEPT")
	h.finds(t, "firewall")
}

// TestPortsPastAFirewall: a firewall of the host does not see what is forwarded to a container.
func TestPortsPastAFirewall(t *testing.T) {
	h := newHost(t)
	h.bridge(t, "blue", "10.4.0.0/24", `"capabilities": {"portMappings": true}`)
	h.attach(t, "blue", "web", ports.Port{Protocol: unix.IPPROTO_TCP, HostPort: 8080, ContainerPort: 80},
		ports.Port{Protocol: unix.IPPROTO_TCP, HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 8081, ContainerPort: 81})
	h.finds(t, "ports")
	testnet.Sh(t, "nft", "add table ip filter; add chain ip filter INPUT { type filter hook input priority 0; policy drop; }")
	h.finds(t, "ports", finding{warning, "container web: 8080->80/tcp is open to everyone, although chain ip filter INPUT drops"})
	testnet.Sh(t, "nft", "add rule inet fairway_ports user ip saddr 198.51.100.0/24 drop")
	h.finds(t, "ports")
}

func TestFilters(t *testing.T) {
	h := newHost(t)
	h.finds(t, "filters")
	ip(t, `
		link add up1 up type veth peer name far1
		link set far1 up
		addr add 198.51.100.10/24 dev up1
		route add default via 198.51.100.1 metric 10`)
	h.finds(t, "filters")
	testnet.Sh(t, "sysctl", "-q", "-w", "net.ipv4.conf.up1.rp_filter=1")
	h.finds(t, "filters", finding{warning, "sysctl -w net/ipv4/conf/up1/rp_filter=2"})
	testnet.Sh(t, "sysctl", "-q", "-w", "net.ipv4.conf.all.rp_filter=2")
	h.finds(t, "filters")
}

func TestBridgedFramesDropped(t *testing.T) {
	h := newHost(t)
	h.bridge(t, "blue", "10.4.0.0/24")
	h.attach(t, "blue", "web")
	testnet.Sh(t, "sysctl", "-q", "-w", "net.bridge.bridge-nf-call-iptables=1")
	h.finds(t, "filters")
	testnet.Sh(t, "nft", "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }")
	h.finds(t, "filters", finding{warning, "containers of blue0 send to each other"})
	testnet.Sh(t, "sysctl", "-q", "-w", "net.bridge.bridge-nf-call-iptables=0")
	h.finds(t, "filters")
}

func TestMTUOfContainer(t *testing.T) {
	h := newHost(t)
	h.bridge(t, "blue", "10.4.0.0/24")
	web := h.attach(t, "blue", "web")
	h.finds(t, "mtu")
	web.Sh(t, "ip", "link", "set", "eth0", "mtu", "9000")
	h.finds(t, "mtu", finding{wrong, "eth0 of container web has MTU 9000"})
}

func TestMTUOfBridge(t *testing.T) {
	h := newHost(t)
	h.bridge(t, "blue", "10.4.0.0/24", `"mtu": 9000`)
	h.attach(t, "blue", "web")
	h.finds(t, "mtu", finding{warning, `set "mtu": 1500 in ` + h.Netconf})
	ip(t, "link set up0 mtu 9000")
	h.finds(t, "mtu")
}

func TestMTUOfTunnel(t *testing.T) {
	h := newHost(t)
	ip(t, "link add vx0 mtu 1450 type vxlan id 7 local 192.0.2.10 dstport 4789")
	h.finds(t, "mtu")
	ip(t, "link set vx0 mtu 1451")
	h.finds(t, "mtu", finding{wrong, "ip link set vx0 mtu 1450"})
	ip(t, "link set vx0 mtu 1450")
	ip(t, "addr del 192.0.2.10/24 dev up0")
	h.finds(t, "mtu", finding{wrong, "which no link of the host has"})
}

func TestMTUOfTunnelOver6(t *testing.T) {
	h := newHost(t)
	ip(t, `
		addr add 2001:db8:1::10/64 dev up0 nodad
		link add vx0 mtu 1450 type vxlan id 7 local 2001:db8:1::10 dstport 4789`)
	h.finds(t, "mtu", finding{wrong, "ip link set vx0 mtu 1430"})
}

func TestStaleReservations(t *testing.T) {
	h := newHost(t)
	h.bridge(t, "blue", "10.4.0.0/24")
	h.attach(t, "blue", "web")
	h.finds(t, "reservations")
	file := filepath.Join(h.Runtime.Cache, "networks", "blue", "10.4.0.77")
	if err := os.WriteFile(file, []byte("gone\r\neth0"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.finds(t, "reservations") // an ADD may be on its way
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(file, long, long); err != nil {
		t.Fatal(err)
	}
	h.finds(t, "reservations", finding{warning, "keeps 1 address for containers that are gone: 10.4.0.77 of container gone interface eth0"})
}

func TestLeftovers(t *testing.T) {
	h := newHost(t)
	h.bridge(t, "blue", "10.4.0.0/24", `"ipMasq": true`)
	web := h.attach(t, "blue", "web")
	h.finds(t, "leftovers")
	// The runtime forgets the attachment, as after a crash.
	results, err := filepath.Glob(h.Runtime.Cache + "/results/*")
	if err != nil || len(results) != 1 {
		t.Fatalf("results: %v, %v", results, err)
	}
	forgotten := filepath.Join(h.Runtime.Cache, "forgotten")
	if err := os.Rename(results[0], forgotten); err != nil {
		t.Fatal(err)
	}
	h.finds(t, "leftovers", finding{warning, "eth0 of container web on network blue is there, and no record of it is known"})
	if err := os.Rename(forgotten, results[0]); err != nil {
		t.Fatal(err)
	}
	// The container goes without a DEL.
	if err := web.Close(); err != nil {
		t.Fatal(err)
	}
	found := h.run(t, "leftovers")
	if len(found) == 0 || found[0].Level != warning || found[0].Message != "eth0 of container web on network blue was never detached, and its namespace is gone" {
		t.Errorf("found\n%s", printed(t, found))
	}
}

// TestInterruptedAdd: what a killed process was attaching is named once, whatever of it is there; its remedy takes it away.
func TestInterruptedAdd(t *testing.T) {
	for name, ends := range map[string]bool{"the container lives": false, "the container has gone": true} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.bridge(t, "blue", "10.4.0.0/24", `"ipMasq": true`)
			web := h.attach(t, "blue", "web")
			// The process is killed between the last plugin and libcni's record: its own record is all there is, and nobody has locked it.
			results, err := filepath.Glob(h.Runtime.Cache + "/results/*")
			if err != nil || len(results) != 1 {
				t.Fatalf("results: %v, %v", results, err)
			}
			if err := os.Rename(results[0], filepath.Join(h.Runtime.Cache, "fairway/attaching/0")); err != nil {
				t.Fatal(err)
			}
			if ends {
				if err := web.Close(); err != nil {
					t.Fatal(err)
				}
			}
			h.finds(t, "leftovers", finding{warning,
				"eth0 of container web on network blue was being attached when the process that did so was killed fairway gc"})
			if _, err := h.Runtime.Collect(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			h.finds(t, "leftovers")
		})
	}
}

func TestMalformedFile(t *testing.T) {
	h := newHost(t)
	h.bridge(t, "blue", "10.4.0.0/24")
	h.finds(t, "netconf")
	h.file(t, "broken.conflist", `{"name": "broken"`)
	h.finds(t, "netconf", finding{wrong, "broken.conflist"})
}

func TestContradictingBridges(t *testing.T) {
	h := newHost(t)
	h.bridge(t, "blue", "10.4.0.0/24", `"internal": false`)
	h.network(t, "blue2", `{"type": "bridge", "bridge": "blue0", "isGateway": true}`)
	h.finds(t, "netconf")
	h.network(t, "blue2", `{"type": "bridge", "bridge": "blue0", "isGateway": true, "internal": true}`)
	h.finds(t, "netconf", finding{wrong, "both use bridge blue0, with different values of key internal"})
}

func TestOldVersion(t *testing.T) {
	h := newHost(t)
	h.file(t, "old.conflist", `{"cniVersion": "1.0.0", "name": "old", "plugins": [{"type": "bridge"}]}`)
	h.finds(t, "netconf", finding{warning, `add "cniVersions": ["1.0.0", "1.1.0"]`})
	h.file(t, "old.conflist", `{"cniVersion": "1.0.0", "cniVersions": ["1.0.0", "1.1.0"], "name": "old", "plugins": [{"type": "bridge"}]}`)
	h.finds(t, "netconf")
}

func TestOverlappingNetworks(t *testing.T) {
	h := newHost(t)
	h.bridge(t, "blue", "10.4.0.0/24")
	h.bridge(t, "red", "10.4.1.0/24")
	h.finds(t, "subnets")
	h.bridge(t, "red", "10.4.0.0/16")
	h.finds(t, "subnets", finding{wrong, "subnet 10.4.0.0/24 of network blue overlaps 10.4.0.0/16 of network red"})
}

func TestSubnetOverlapsRoute(t *testing.T) {
	h := newHost(t)
	h.bridge(t, "blue", "10.4.0.0/24")
	h.attach(t, "blue", "web")
	h.finds(t, "subnets")
	ip(t, "route add 10.0.0.0/8 via 192.0.2.1")
	h.finds(t, "subnets", finding{warning, "the route to 10.0.0.0/8 by up0 leads past subnet 10.4.0.0/24 of network blue"})
	ip(t, "route del 10.0.0.0/8")
	ip(t, "route add 10.4.0.128/25 via 192.0.2.1")
	h.finds(t, "subnets", finding{wrong, "subnet 10.4.0.0/24 of network blue overlaps the route to 10.4.0.128/25 by up0"})
}

func TestPlugins(t *testing.T) {
	h := newHost(t)
	h.bridge(t, "blue", "10.4.0.0/24")
	h.finds(t, "plugins")
	h.Version = "v1.10.0"
	h.finds(t, "plugins", finding{warning, "bridge is of fairway v1.2.0, and this is v1.10.0"},
		finding{warning, "host-local is of fairway v1.2.0"})
	h.Version = "devel"
	h.finds(t, "plugins")

	dir := t.TempDir()
	h.Runtime.Plugins = []string{dir}
	h.network(t, "blue", `{"type": "bridge", "internal": true}`)
	h.finds(t, "plugins", finding{wrong, "plugin bridge of blue is in none of " + dir})
	bridge := filepath.Join(dir, "bridge")
	if err := os.WriteFile(bridge, []byte("#!/bin/sh\nexit 3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	h.finds(t, "plugins", finding{wrong, "chmod 0755 " + bridge})
	if err := os.Chmod(bridge, 0o755); err != nil {
		t.Fatal(err)
	}
	h.finds(t, "plugins", finding{wrong, "does not answer VERSION"})
	foreign := "#!/bin/sh\n[ -n \"$CNI_COMMAND\" ] || { echo 'CNI bridge plugin v1.9.1' >&2; exit 0; }\n" +
		`echo '{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}'` + "\n"
	if err := os.WriteFile(bridge, []byte(foreign), 0o755); err != nil {
		t.Fatal(err)
	}
	h.finds(t, "plugins", finding{wrong, "does not know CNI 1.1.0"}, finding{wrong, "is not fairway's: it ignores key internal of network blue"})
}

func TestFullNetwork(t *testing.T) {
	h := newHost(t)
	h.bridge(t, "tiny", "10.4.0.0/30")
	h.finds(t, "reservations")
	h.attach(t, "tiny", "web")
	h.finds(t, "status")
	h.finds(t, "reservations", finding{warning, "network tiny: range set 0 (10.4.0.1-10.4.0.2) has no free address"})
}

func TestAgentAbsent(t *testing.T) {
	h := newHost(t)
	h.network(t, "hand", `{"type": "overlay-vxlan", "vni": 7, "subnet": "10.42.0.0/16", "peers": [{"vtep": "192.0.2.10", "subnets": ["10.42.1.0/24"]}]}`)
	h.finds(t, "agent")
	h.network(t, "wide", `{"type": "overlay-vxlan", "vni": 8, "peersFile": "/run/not/there.json"}`)
	h.finds(t, "agent", finding{wrong, "fairwayd"})
}

// Not every kernel has VLANs, and this test is for both kinds.
func TestKernelFeatures(t *testing.T) {
	h := newHost(t)
	h.bridge(t, "blue", "10.4.0.0/24", `"ipMasq": true`, `"isolated": true`)
	h.network(t, "lan", `{"type": "macvlan", "master": "up0"}`)
	h.finds(t, "kernel")
	h.network(t, "lan", `{"type": "macvlan", "master": "up0.10"}`)
	if exec.Command("ip", "link", "add", "link", "up0", "name", "up0.99", "type", "vlan", "id", "99").Run() == nil {
		h.finds(t, "kernel")
	} else {
		h.finds(t, "kernel", finding{wrong, "which lan needs use a kernel with CONFIG_VLAN_8021Q"})
	}
}
