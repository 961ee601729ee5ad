package plugins

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestOverlayRefuses: what only the host can tell is answered with a sentence, and nothing is left behind.
func TestOverlayRefuses(t *testing.T) {
	without := func(keys ...map[string]any) []map[string]any { return keys }
	peer := func(vtep string, subnets ...string) map[string]any {
		return map[string]any{"vtep": vtep, "subnets": subnets}
	}
	for _, tt := range []struct {
		name, setup string
		keys        map[string]any
		code        uint
		want        string
	}{
		{"no entry", "", map[string]any{"peers": without(peer("192.0.2.12", "10.42.2.0/24"))}, 7,
			"no vtep of key peers is an address of this host: add an entry for it, or name its vtep in key self"},
		{"two entries", "ip addr add 192.0.2.12/24 dev eth0", nil, 7,
			"peers[0].vtep and peers[1].vtep are both addresses of this host: name the right one in key self"},
		{"no blocks", "", map[string]any{"peers": without(peer("192.0.2.11"))}, 7,
			"the entry of key peers for this host (vtep 192.0.2.11) has no subnets: give it a part of the network's"},
		{"self elsewhere", "", map[string]any{"self": "192.0.2.12"}, 7,
			"address 192.0.2.12 is none of this host, in conflict with the configuration: name the host's address on the underlay"},
		{"underlay gone", "ip link del eth0", nil, 7,
			"no vtep of key peers is an address of this host: add an entry for it, or name its vtep in key self"},
		{"underlay down", "ip link set eth0 down", nil, 11,
			"underlay not usable: link eth0 of address 192.0.2.11 is down, raise it (ip link set eth0 up)"},
		{"mtu", "", map[string]any{"mtu": 1451}, 7,
			"key mtu is 1451: link eth0 has an MTU of 1500, which leaves 1450 beside VXLAN, give no more or leave it out"},
		{"vni of another network", "ip link add fwvx4096 type vxlan id 4096 dstport 4789 && ip link set fwvx4096 alias 'fairway-overlay shop'", nil, 7,
			"vni 4096 is that of network shop on this host, in conflict with the configuration: choose another vni"},
		{"route of the host", "ip addr add 10.42.9.1/24 dev eth0", nil, 7,
			"subnet 10.42.0.0/16 overlaps the host's route to 10.42.9.0/24 through eth0, in conflict with the configuration: choose another subnet"},
		{"duplicate", "", map[string]any{"peers": without(peer("192.0.2.11", "10.42.1.0/24"), peer("192.0.2.11", "10.42.2.0/24"))}, 7,
			"peers[1].vtep is 192.0.2.11, which is that of peers[0] too: give each host one entry with all its subnets"},
		{"overlap", "", map[string]any{"peers": without(peer("192.0.2.11", "10.42.1.0/24"), peer("192.0.2.12", "10.42.1.128/25"))}, 7,
			"peers[1].subnets[0] is 10.42.1.128/25, which overlaps peers[0].subnets[0] 10.42.1.0/24: give each host blocks of its own"},
		{"address of another host", "", map[string]any{"runtimeConfig": map[string]any{"ips": []string{"10.42.2.7"}}}, 7, "10.42.2.7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := newUnderlay(t, false)
			h1 := u.host(t, 1)
			if tt.setup != "" {
				h1.Sh(t, "sh", "-c", tt.setup)
			}
			a := overlayOn(t, u, h1, testnet.NewNS(t, "c"))
			for key, value := range tt.keys {
				a = a.with(key, value)
			}
			before := a.traces(t)
			if sentence := a.fail(t, "ADD", tt.code); !strings.Contains(sentence, tt.want) {
				t.Errorf("sentence %q, want %q", sentence, tt.want)
			}
			after := a.traces(t)
			after.Rules = before.Rules // tables and chains stay, as those of other modes do
			if strings.Contains(a.traces(t).Rules, "comment") {
				t.Errorf("elements are left:\n%s", a.traces(t).Rules)
			}
			if len(after.Host) != len(before.Host) || len(after.Reservations) > 0 || len(after.Container) != len(before.Container) {
				t.Errorf("left behind: before %v, after %v", before, after)
			}
		})
	}
}

// TestOverlayRefusalTearsNothingDown: a mistake made in the list of a network in use.
func TestOverlayRefusalTearsNothingDown(t *testing.T) {
	u := newUnderlay(t, false)
	h1, h2 := u.host(t, 1), u.host(t, 2)
	c1, c2 := testnet.NewNS(t, "c1"), testnet.NewNS(t, "c2")
	a := overlayOn(t, u, h1, c1)
	a = a.after(a.add(t))
	v4, v6 := addressesOf(t, overlayOn(t, u, h2, c2).add(t))
	broken := a.with("peers", u.peers(2)[1:])
	broken.fail(t, "CHECK", 7)
	broken.on(testnet.NewNS(t, "c3"), "eth0").with("prevResult", nil).fail(t, "ADD", 7)
	reaches(t, c1, v4, v6)
	a.succeed(t, "CHECK")
	broken.succeed(t, "DEL")
}

// TestOverlayStatus: 51 while the agent does not answer, 11 while it has claimed no block, 50 when an ADD would fail.
func TestOverlayStatus(t *testing.T) {
	u := newUnderlay(t, false)
	h1 := u.host(t, 1)
	dir := t.TempDir()
	socket, file := filepath.Join(dir, "agent.sock"), filepath.Join(dir, "net.json")
	a := overlayOn(t, u, h1, testnet.NewNS(t, "c")).with("peers", nil).with("peersFile", file).with("agent", socket)
	write := func(peers []map[string]any) {
		text, err := json.Marshal(map[string]any{"self": "192.0.2.11", "peers": peers})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write([]map[string]any{{"vtep": "192.0.2.11"}})
	const silent = "no block of the network is this host's yet: the node agent does not answer, start fairwayd: dial unix "
	for verb, code := range map[string]uint{"ADD": 11, "STATUS": 50} {
		if sentence := a.fail(t, verb, code); !strings.HasPrefix(sentence, silent) {
			t.Errorf("%s: %q, want %q", verb, sentence, silent)
		}
	}
	// With it, an ADD would make this host a member.
	first, connected := listenAsAgent(t, socket)
	a.warns(t, "the node agent has no connection to etcd")
	connected.Store(true)
	a.succeed(t, "STATUS")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	write(u.peers(2))
	a.warns(t, "the node agent does not answer")
	agent, connected := listenAsAgent(t, socket)
	a.warns(t, "the node agent has no connection to etcd")
	connected.Store(true)
	a.succeed(t, "STATUS")
	a = a.after(a.add(t))
	a.succeed(t, "CHECK")
	if err := agent.Close(); err != nil {
		t.Fatal(err)
	}
	// Attaching works without the agent, and its network is left to it.
	a.succeed(t, "CHECK")
	a.succeed(t, "DEL")
	a.gcCall().with("cni.dev/valid-attachments", alive()).succeed(t, "GC")
	if shown := h1.Sh(t, "ip", "link"); !strings.Contains(shown, "fwvx4096") {
		t.Errorf("the device has gone:\n%s", shown)
	}
	h1.Sh(t, "ip", "link", "set", "eth0", "down")
	a.fail(t, "STATUS", 50)
}

// listenAsAgent answers on a socket as a node agent does that is asked for its health, until it is closed.
func listenAsAgent(t *testing.T, socket string) (agent *http.Server, connected *atomic.Bool) {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	connected = new(atomic.Bool)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/health", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(agentapi.Health{Etcd: agentapi.EtcdHealth{Connected: connected.Load()}}) // the plugin tells
	})
	agent = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = agent.Serve(listener) }() // ends with Close
	t.Cleanup(func() { _ = agent.Close() })
	return agent, connected
}
