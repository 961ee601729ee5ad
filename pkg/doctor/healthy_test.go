package doctor_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/doctor"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestUnusualAndHealthy: on hosts that are unlike most, and on which containers work, nothing is said.
func TestUnusualAndHealthy(t *testing.T) {
	nft := func(hook string, lines ...string) string {
		commands := "add table inet f; "
		for _, line := range lines {
			if strings.HasPrefix(line, "add ") {
				commands += line + "; "
			}
		}
		commands += "add chain inet f c { type filter hook " + hook + " priority 0; policy " + lines[0] + "; }; "
		for _, line := range lines[1:] {
			if !strings.HasPrefix(line, "add ") {
				commands += "add rule inet f c " + line + "; "
			}
		}
		return "nft '" + commands + "'"
	}
	for name, furnish := range map[string]string{
		"accept by a set of interfaces": nft("forward", "accept", "add set inet f zone { type ifname; elements = { blue0, eth9 } }", "add chain inet f in", "add rule inet f in iifname @zone accept",
			"ct state vmap { established : accept, related : accept, invalid : drop }", "jump in", "reject with icmpx admin-prohibited"),
		"accept by subnet":            nft("forward", "drop", "ip saddr 10.4.0.0/16 accept", "ip daddr 10.4.0.0/16 accept", "ip6 saddr fd04::/64 accept", "ip6 daddr fd04::/64 accept"),
		"accept by mark":              nft("forward", "drop", "meta mark 0x10 accept", "ct state established,related accept") + "; nft add chain inet f p '{ type filter hook prerouting priority -150; }'; nft add rule inet f p iifname blue0 meta mark set 0x10",
		"input dropped":               nft("input", "drop", "ct state established,related accept", "iifname lo accept", "tcp dport 22 accept"),
		"bad packets dropped":         nft("forward", "accept", "ct state invalid drop", "tcp flags syn / fin,syn,rst,ack tcp dport 25 drop", "ip daddr { 127.0.0.0/8, 169.254.0.0/16, 192.168.0.0/16 } drop", "limit rate 5/minute log"),
		"way back looked for":         "nft add table inet f; nft add chain inet f c '{ type filter hook prerouting priority -300; }'; nft add rule inet f c fib saddr . mark . iif oif missing drop",
		"Docker beside":               "iptables -P FORWARD DROP; iptables -N DOCKER-USER; iptables -N DOCKER; iptables -A FORWARD -j DOCKER-USER; iptables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; iptables -A FORWARD -o docker0 -j DOCKER; iptables -A DOCKER ! -i docker0 -o docker0 -j DROP; iptables -A DOCKER-USER -i blue0 -j ACCEPT; iptables -A DOCKER-USER -o blue0 -j ACCEPT",
		"kube-proxy beside":           "iptables -N KUBE-FORWARD; iptables -A FORWARD -m comment --comment 'kubernetes forwarding rules' -j KUBE-FORWARD; iptables -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP; iptables -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT; iptables -A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
		"iptables-legacy beside":      "iptables-legacy -P FORWARD DROP; iptables-legacy -A FORWARD -s 10.4.0.0/24 -j ACCEPT; iptables-legacy -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT",
		"VPN for everything":          "ip route add 0.0.0.0/1 via 192.0.2.7; ip route add 128.0.0.0/1 via 192.0.2.7",
		"a table for the network":     "ip route add default via 192.0.2.8 table 100; ip rule add from 10.4.0.0/24 lookup 100 pref 100",
		"a router of some networks":   "ip route del default; ip route add 172.16.0.0/12 via 192.0.2.1",
		"two uplinks, loosely":        "ip link add up1 up type veth peer name far1; ip link set far1 up; ip addr add 198.51.100.10/24 dev up1; ip route add default via 198.51.100.1 metric 10; sysctl -q -w net.ipv4.conf.all.rp_filter=2",
		"a container of its own mind": "WEB ip link add ifb7 type ifb; WEB ip addr add 172.20.0.1/24 dev ifb7; WEB ip addr add 10.4.0.77/24 dev eth0; WEB ip route add 172.30.0.0/16 via 10.4.0.1",
		"names at systemd":            "printf 'nameserver 127.0.0.53\\n' > RESOLV; printf 'nameserver 192.0.2.53\\n' > RESOLV.upstream",
	} {
		t.Run(name, func(t *testing.T) {
			h := newMendable(t)
			h.Resolv = append(h.Resolv, h.Resolv[0]+".upstream")
			web := h.attach(t, "blue", "web")
			testnet.Sh(t, "sh", "-c", strings.NewReplacer("WEB", "nsenter --net="+web.Path, "RESOLV", h.Resolv[0]).Replace(furnish))
			if findings := h.run(t); doctor.Worst(findings) != doctor.OK {
				t.Errorf("findings:\n%s", printed(t, findings))
			}
		})
	}
}

// TestHangingPlugin: a plugin that does not answer, and has started something that holds its output, costs the patience for one, once.
func TestHangingPlugin(t *testing.T) {
	for _, hangsAt := range []string{"VERSION", "STATUS", "CHECK"} {
		t.Run(hangsAt, func(t *testing.T) {
			h := newHost(t)
			dir := t.TempDir()
			h.Runtime.Plugins = append([]string{dir}, h.Runtime.Plugins...)
			script := `#!/bin/sh
case $CNI_COMMAND in ` + hangsAt + `) sleep 300 & sleep 300;; VERSION) echo '{"cniVersion": "1.1.0", "supportedVersions": ["1.1.0"]}';; ADD) echo '{"cniVersion": "1.1.0"}';; esac
`
			for _, name := range []string{"slow", "slow2"} {
				h.file(t, name+".conflist", `{"cniVersion": "1.1.0", "name": "`+name+`", "plugins": [{"type": "bridge", "bridge": "`+name+`"}, {"type": "`+name+`"}]}`)
				if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			h.network(t, "fine", `{"type": "bridge", "bridge": "fine0"}`)
			h.attachTo(t, "slow")
			begun := time.Now()
			findings := h.run(t)
			took := time.Since(begun)
			said := 0
			for _, f := range findings {
				if strings.Contains(f.Message, "does not answer "+hangsAt+" within 5s") {
					said++
				}
			}
			most := 8 * time.Second
			if hangsAt == "STATUS" {
				most += 5 * time.Second // two that hang are asked one after the other
			}
			if said == 0 || took > most {
				t.Errorf("%s, said %d times:\n%s", took, said, printed(t, findings))
			}
		})
	}
}

// attachTo attaches a container to a network without addresses.
func (h *host) attachTo(t *testing.T, network string) {
	t.Helper()
	n := h.find(t, network)
	ns := testnet.NewNS(t, network)
	if _, err := h.Runtime.Attach(t.Context(), n.List, attachment.Request{ID: network, Netns: ns.Path}); err != nil {
		t.Fatal(err)
	}
}

// TestTrace: the hops of a way are told one by one up to the first that fails.
func TestTrace(t *testing.T) {
	h := newMendable(t)
	web := h.attach(t, "blue", "web")
	healthy := []string{"link", "address", "bridge", "neighbour", "route", "way out", "way back", "rules", "firewall", "name"}
	h.traces(t, "web", healthy, "")
	for _, test := range []struct {
		breaks, mends string
		hops          int
		says          string
	}{
		{"nsenter --net=WEB ip link set eth0 down", "", 1, "eth0 of container web is down"},
		{"ip addr flush dev blue0", "", 3, "has no address 10.4.0.1"},
		{"nft add table bridge f; nft add chain bridge f c '{ type filter hook prerouting priority 0; policy drop; }'", "nft delete table bridge f", 4, "does not answer for 10.4.0.2"},
		{"ip rule add to 10.4.0.0/24 prohibit pref 60", "", 7, "sends what comes back to network blue nowhere"},
		{"nft flush ruleset", "", 8, "drift"},
		{"sysctl -q -w net.ipv4.ip_forward=0", "", 8, "does not forward IPv4"},
		{"iptables -P FORWARD DROP", "", 9, "by the policy of chain ip filter FORWARD"},
	} {
		testnet.Sh(t, "sh", "-c", strings.ReplaceAll(test.breaks, "WEB", web.Path))
		command := h.traces(t, "web", healthy[:test.hops], test.says)
		if test.mends != "" {
			command = test.mends
		}
		testnet.Sh(t, "sh", "-c", command)
		h.traces(t, "web", healthy, "")
	}
}

// traces follows a container's packets, and gives the command for the last hop.
func (h *host) traces(t *testing.T, container string, hops []string, says string) (command string) {
	t.Helper()
	examined, err := doctor.Examine(h.Places)
	if err != nil {
		t.Fatal(err)
	}
	defer examined.Close()
	findings, err := doctor.Trace(t.Context(), examined, container, func(a attachment.Attachment) bool { return a.ID == container })
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range findings {
		names = append(names, f.Check)
	}
	last := findings[len(findings)-1]
	if strings.Join(names, ", ") != strings.Join(hops, ", ") || !strings.Contains(last.Message, says) || (last.Level == doctor.Error) != (says != "") {
		t.Fatalf("want %v and %q:\n%s", hops, says, printed(t, findings))
	}
	return last.Command
}
