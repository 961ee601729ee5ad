package ruleset_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/state/ruleset"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// hooked makes a chain at a hook, in a table that is made as well.
func hooked(t *testing.T, table, chain, hook, policy string, rules ...string) {
	t.Helper()
	commands := fmt.Sprintf("add table %s; add chain %s %s { type filter hook %s priority 0; policy %s; };", table, table, chain, hook, policy)
	for _, rule := range rules {
		commands += fmt.Sprintf("add rule %s %s %s;", table, chain, rule)
	}
	testnet.Sh(t, "nft", commands)
}

func forwardDrops(t *testing.T) []ruleset.ForeignChain {
	t.Helper()
	drops, err := ruleset.ForwardDrops(statetest.Open(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	return drops
}

func TestForwardDrops(t *testing.T) {
	for _, test := range []struct {
		name, table, hook, policy string
		rules                     []string
		drops                     bool
	}{
		{"policy drop", "ip a", "forward", "drop", []string{"iifname docker0 accept"}, true},
		{"policy drop of IPv6", "ip6 a", "forward", "drop", nil, true},
		{"policy drop of both", "inet a", "forward", "drop", nil, true},
		{"policy accept", "ip a", "forward", "accept", nil, false},
		{"another hook", "inet a", "input", "drop", nil, false},
		{"another family", "bridge a", "forward", "drop", nil, false},
		{"last rule rejects", "inet a", "forward", "accept", []string{"ct state established accept", "reject with icmpx admin-prohibited"}, true},
		{"last rule counts, logs and drops", "ip a", "forward", "accept", []string{"counter log drop"}, true},
		{"last rule accepts", "ip a", "forward", "accept", []string{"iifname x drop", "counter accept"}, false},
		{"last rule has a condition", "ip a", "forward", "accept", []string{"ct state invalid drop"}, false},
		{"last rule has a condition that the library does not know", "ip a", "forward", "accept", []string{"rt classid 1 drop"}, false},
		{"fairway's own", "inet fairway", "forward", "drop", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			testnet.NewHost(t)
			hooked(t, test.table, "f", test.hook, test.policy, test.rules...)
			want := 0
			if test.drops {
				want = 1
			}
			if got := forwardDrops(t); len(got) != want {
				t.Errorf("%v, want %d", got, want)
			}
		})
	}
}

// The remedy is in the language of the firewall that the chain belongs to.
func TestForwardDropRemedy(t *testing.T) {
	testnet.NewHost(t)
	hooked(t, "ip filter", "FORWARD", "forward", "drop")
	hooked(t, "ip6 filter", "FORWARD", "forward", "drop")
	hooked(t, "inet filter", "forward", "forward", "drop")
	hooked(t, "inet firewalld", "filter_FORWARD", "forward", "accept", "reject")
	expectRemedies(t, map[string]string{
		"ip filter FORWARD":             "iptables -I FORWARD -i br0 -j ACCEPT && iptables -I FORWARD -o br0 -j ACCEPT",
		"ip6 filter FORWARD":            "ip6tables -I FORWARD -i br0 -j ACCEPT && ip6tables -I FORWARD -o br0 -j ACCEPT",
		"inet filter forward":           "nft insert rule inet filter forward iifname br0 accept && nft insert rule inet filter forward oifname br0 accept",
		"inet firewalld filter_FORWARD": "firewall-cmd --permanent --zone=trusted --add-interface=br0 && firewall-cmd --reload",
	})
	testnet.Sh(t, "nft", "add chain ip filter ufw-user-forward; add chain ip6 filter ufw6-user-forward; delete table inet filter; delete table inet firewalld")
	const ufw = "ufw route allow in on br0 && ufw route allow out on br0"
	expectRemedies(t, map[string]string{"ip filter FORWARD": ufw, "ip6 filter FORWARD": ufw})
	testnet.Sh(t, "nft", "add chain ip filter DOCKER-USER; add chain ip6 filter DOCKER-USER")
	expectRemedies(t, map[string]string{
		"ip filter FORWARD":  "iptables -I DOCKER-USER -i br0 -j ACCEPT && iptables -I DOCKER-USER -o br0 -j ACCEPT",
		"ip6 filter FORWARD": "ip6tables -I DOCKER-USER -i br0 -j ACCEPT && ip6tables -I DOCKER-USER -o br0 -j ACCEPT",
	})
}

func expectRemedies(t *testing.T, want map[string]string) {
	t.Helper()
	got := make(map[string]string)
	for _, d := range forwardDrops(t) {
		got[d.String()] = d.Remedy("br0")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// An accept of another table does not help, the remedy does.
func TestForwardDropRemedyHelps(t *testing.T) {
	for _, test := range []struct{ name, firewall string }{
		{"nft", "nft 'add table inet strict; add chain inet strict f { type filter hook forward priority 0; policy drop; }'"},
		{"iptables", "iptables -P FORWARD DROP"},
		{"Docker", "iptables -P FORWARD DROP && iptables -N DOCKER-USER && iptables -A FORWARD -j DOCKER-USER"},
	} {
		t.Run(test.name, func(t *testing.T) {
			testnet.NewHost(t)
			outside := statetest.NewOutside(t)
			a := statetest.NewGuest(t, 1, 2)
			statetest.Ensure(t, statetest.Open(t, a.Namespace), a.Masquerade(), true)
			testnet.Sh(t, "sh", "-c", test.firewall)
			hooked(t, "inet kind", "forward", "forward", "accept", "accept")
			statetest.Reaches(t, a.Namespace, outside, statetest.Outside4, false)
			drops := forwardDrops(t)
			if len(drops) != 1 {
				t.Fatalf("%v, want one", drops)
			}
			testnet.Sh(t, "sh", "-c", drops[0].Remedy("br1"))
			statetest.Reaches(t, a.Namespace, outside, statetest.Outside4, true)
		})
	}
}

// STATUS warns, and does not fail: a rule of the chain may let the link's packets through.
func TestForwardPath(t *testing.T) {
	testnet.NewHost(t)
	path := ruleset.ForwardPath{Link: "br0"}
	logged := statetest.CaptureLog(t)
	statetest.Ensure(t, statetest.Open(t, nil), path, false)
	statetest.Verifies(t, nil, path)
	statetest.Removes(t, nil, path)
	if err := path.Ready(statetest.Open(t, nil)); err != nil || logged.Len() > 0 {
		t.Errorf("Ready: %v, logged %q, want nothing", err, logged)
	}
	hooked(t, "ip filter", "FORWARD", "forward", "drop")
	if err := path.Ready(statetest.Open(t, nil)); err != nil {
		t.Errorf("Ready: %v", err)
	}
	statetest.Shows(t, logged.String(), "level=WARN", "chain ip filter FORWARD drops", "iptables -I FORWARD -i br0 -j ACCEPT")
}
