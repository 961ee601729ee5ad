package doctor_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/doctor"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestBrokenAndMended breaks a host in each way that people meet. Doctor names it, the command that it gives is run, and then doctor is content.
func TestBrokenAndMended(t *testing.T) {
	for _, test := range []struct {
		name, breaks string // shell commands. WEB is the container's namespace, VETH the host's end of its eth0
		check, says  string
		// with answers what the command leaves to a person.
		with [2]string
	}{
		{name: "rules flushed", breaks: "nft flush ruleset", check: "attachments", says: "drift"},
		{name: "masquerade flushed", breaks: "nft flush map inet fairway masquerade_from4", check: "attachments", says: "masquerade_from4"},
		{name: "bridge down", breaks: "ip link set blue0 down", check: "path", says: "bridge blue0 of network blue is down"},
		{name: "no bridge address", breaks: "ip addr flush dev blue0", check: "path", says: "bridge blue0 has no address 10.4.0.1, the gateway of network blue"},
		{name: "out of the bridge", breaks: "ip link set VETH nomaster", check: "path", says: "is no port of bridge blue0"},
		{name: "host end down", breaks: "ip link set VETH down", check: "path", says: "the host's end of eth0 of container web, is down"},
		{name: "interface down", breaks: "WEB ip link set eth0 down", check: "path", says: "eth0 of container web is down"},
		{name: "interface without route", breaks: "WEB ip route del default", check: "path", says: "container web has no default route any more"},
		{name: "interface without address", breaks: "WEB ip addr flush dev eth0", check: "path", says: "eth0 of container web has no address"},
		{name: "host without route", breaks: "ip route del default", check: "path", says: "the host has no default route", with: [2]string{"GATEWAY", "192.0.2.1"}},
		{name: "uplink down", breaks: "ip link set up0 down", check: "path", says: "up0 is down, and the host has no default route", with: [2]string{"GATEWAY", "192.0.2.1"}},
		{name: "rule to elsewhere", breaks: "ip route add default via 192.0.2.99 table 100; ip rule add to 10.4.0.0/24 lookup 100 pref 50", check: "path", says: "sends what comes back to network blue by up0 instead of blue0"},
		{name: "rule to nowhere", breaks: "ip rule add from 10.4.0.0/24 prohibit pref 60", check: "path", says: "leaves what containers of network blue send without a way"},
		{name: "no IPv6 on the bridge", breaks: "sysctl -q -w net.ipv6.conf.blue0.disable_ipv6=1", check: "path", says: "bridge blue0 has no address fd04::1, the gateway of network blue"},
		{name: "reservations gone", breaks: "rm /var/lib/cni/networks/blue/*", check: "reservations", says: "is not reserved on network blue: another container may get it"},
		{name: "duplicate address", breaks: `ip link add dup0 type veth peer name dup1 netns OTHER; ip link set dup0 master blue0 up
			nsenter --net=OTHER ip addr add 10.4.0.2/24 dev dup1; nsenter --net=OTHER ip link set dup1 up`, check: "path", says: "10.4.0.2 of container web is also the address of dup1"},
		{name: "loopback servers", breaks: "echo nameserver 127.0.0.1 > RESOLV", check: "resolver", says: "names no server beyond the host's own loopback", with: [2]string{"SERVER", "192.0.2.53"}},
		{name: "drop in prerouting", breaks: "nft add table inet f; nft add chain inet f c '{ type filter hook prerouting priority -150; }'; nft add rule inet f c ip saddr 10.4.0.0/24 drop", check: "firewall", says: "is dropped by the rule with handle"},
		{name: "drop in input", breaks: "nft add table inet f; nft add chain inet f c '{ type filter hook input priority 0; }'; nft add rule inet f c iifname blue0 drop", check: "firewall", says: "what containers of network blue ask of the host is dropped"},
		{name: "drop on the bridge", breaks: "nft add table bridge f; nft add chain bridge f c '{ type filter hook forward priority 0; }'; nft add rule bridge f c ether type ip drop", check: "firewall", says: "what containers of network blue send to each other is dropped"},
		{name: "drop by interface", breaks: "nft add table inet f; nft add chain inet f c '{ type filter hook forward priority 0; }'; nft add rule inet f c iifname blue0 drop", check: "firewall", says: "send to the outside by up0 is dropped"},
		{name: "drop by subnet", breaks: "nft add table inet f; nft add chain inet f c '{ type filter hook forward priority 0; }'; nft add rule inet f c ip saddr 10.4.0.0/24 drop", check: "firewall", says: "send to the outside by up0 is dropped"},
		{name: "DOCKER-USER", breaks: "iptables -N DOCKER-USER; iptables -I FORWARD -j DOCKER-USER; iptables -A DOCKER-USER -j DROP", check: "firewall", says: "of chain ip filter DOCKER-USER"},
		{name: "iptables -I", breaks: "iptables -I FORWARD -i blue0 -j DROP", check: "firewall", says: "of chain ip filter FORWARD"},
		{name: "iptables-legacy -I", breaks: "iptables-legacy -I FORWARD -i blue0 -j DROP", check: "firewall", says: `"-A FORWARD -i blue0 -j DROP"`},
		{name: "raw", breaks: "iptables -t raw -A PREROUTING -s 10.4.0.0/24 -j DROP", check: "firewall", says: "of chain ip raw PREROUTING"},
		{name: "policy with a narrow accept", breaks: "iptables -P FORWARD DROP; iptables -A FORWARD -i blue0 -p tcp --dport 22 -j ACCEPT", check: "firewall", says: "by the policy of chain ip filter FORWARD"},
		{name: "forwarding", breaks: "sysctl -q -w net.ipv4.ip_forward=0", check: "forwarding", says: "the host does not forward IPv4"},
		{name: "MTU", breaks: "WEB ip link set eth0 mtu 9000", check: "mtu", says: "eth0 of container web has MTU 9000"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newMendable(t)
			web, other := h.attach(t, "blue", "web"), testnet.NewNS(t, "other")
			if findings := h.run(t); doctor.Worst(findings) != doctor.OK {
				t.Fatalf("before it is broken:\n%s", printed(t, findings))
			}
			veth := strings.Fields(testnet.Sh(t, "sh", "-c", "ip -o link show master blue0"))[1]
			veth, _, _ = strings.Cut(veth, "@")
			breaks := strings.NewReplacer("WEB", "nsenter --net="+web.Path, "VETH", veth, "RESOLV", h.Resolv[0], "OTHER", other.Path).Replace(test.breaks)
			testnet.Sh(t, "sh", "-c", breaks)
			h.mend(t, test.check, test.says, test.with)
		})
	}
}

// newMendable is a host with a network on which fairway's own commands work as well.
func newMendable(t *testing.T) *host {
	t.Helper()
	h := newHost(t)
	h.Runtime.Cache = "/var/lib/cni" // that of the commands
	t.Cleanup(func() {
		for _, dir := range []string{"/var/lib/cni/networks", "/var/lib/cni/results", "/var/lib/cni/fairway", "/run/fairway"} {
			_ = os.RemoveAll(dir)
		}
	})
	h.Resolv = []string{filepath.Join(t.TempDir(), "resolv.conf")}
	if err := os.WriteFile(h.Resolv[0], []byte("nameserver 192.0.2.53\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NETCONFPATH", h.Netconf)
	t.Setenv("CNI_PATH", testnet.PluginDir)
	h.network(t, "blue", `{"type": "bridge", "bridge": "blue0", "isDefaultGateway": true, "ipMasq": true,
		"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.4.0.0/24"}], [{"subnet": "fd04::/64"}]]}}`)
	return h
}

// mend looks for what a check has to say, and runs commands until nothing is said any more. One is enough for most.
func (h *host) mend(t *testing.T, check, says string, with [2]string) {
	t.Helper()
	const rounds = 3
	for round := range rounds {
		findings := h.run(t)
		if doctor.Worst(findings) == doctor.OK {
			if round == 0 {
				t.Errorf("nothing was found, want %q", says)
			}
			return
		}
		for _, f := range findings {
			if round == 0 && f.Check == check && strings.Contains(f.Message, says) {
				says = ""
			}
		}
		if says != "" {
			t.Fatalf("check %s does not say %q:\n%s", check, says, printed(t, findings))
		}
		for _, f := range findings {
			if f.Command != "" {
				command := f.Command
				if with[0] != "" {
					command = strings.ReplaceAll(command, with[0], with[1])
				}
				testnet.Sh(t, "sh", "-c", command)
			}
		}
	}
	if findings := h.run(t); doctor.Worst(findings) != doctor.OK {
		t.Errorf("after %d rounds of commands:\n%s", rounds, printed(t, findings))
	}
}
