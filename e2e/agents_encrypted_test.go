package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// confidant is a container on an encrypted network.
type confidant struct {
	guest
	on    *member
	addrs []netip.Addr
}

func (h *member) confide(t *testing.T, network, name string) confidant {
	t.Helper()
	made := h.newGuest(t, name)
	result := succeed(t, h.cni(t, "add", network, made))
	c := confidant{guest: made, on: h}
	for part := range strings.SplitSeq(result, `"address": "`) {
		text, _, _ := strings.Cut(part, "/")
		if addr, err := netip.ParseAddr(text); err == nil {
			c.addrs = append(c.addrs, addr)
		}
	}
	if len(c.addrs) != 2 {
		t.Fatalf("not an address of each family: %s", result)
	}
	return c
}

// speaksWith waits until a container reaches another by each of its addresses.
func (c confidant) speaksWith(t *testing.T, other confidant) {
	t.Helper()
	for _, addr := range other.addrs {
		eventually(t, fmt.Sprintf("%s reaches %s", c.inside, addr), func() bool {
			return testnet.Speak(c.Namespace, other.Namespace, addr, 5*time.Second) == nil
		})
	}
}

// cutOff expects a container not to reach another, and has it try.
func (c confidant) cutOff(t *testing.T, other confidant) {
	t.Helper()
	for _, addr := range other.addrs {
		if err := testnet.Speak(c.Namespace, other.Namespace, addr, time.Second); err == nil {
			t.Errorf("%s reaches %s", c.inside, addr)
		}
	}
}

func (h *member) keyFile() string { return filepath.Join(h.stateDir(), "wireguard.key") }

// told waits until a host's health says something.
func (h *member) told(t *testing.T, what string) {
	t.Helper()
	eventually(t, h.Name+" says "+what, func() bool {
		health, err := h.Agent().Health(t.Context())
		return err == nil && strings.Contains(strings.Join(health.Problems, "\n"), what)
	})
}

// TestEncryptedOverlay: containers of three hosts speak through what the kernel or fairwayd encrypts. Whatever fails meanwhile, a
// capture on the underlay shows nothing of what they say; of a network without encryption it does.
func TestEncryptedOverlay(t *testing.T) {
	c := newCluster(t, 3, 1)
	h1, h2, h3 := c.hosts[0], c.hosts[1], c.hosts[2]
	h1.flags["insecure-registry"], h2.flags["insecure-registry"] = "true", "true"
	c.start(t)
	asked := agentapi.Network{Name: "secret", Encrypted: true, Subnets: []agentapi.Subnet{
		{Prefix: netip.MustParsePrefix("10.60.0.0/16")}, {Prefix: netip.MustParsePrefix("fd60::/64")},
	}}
	if _, err := h3.Agent().Put(t.Context(), asked); err == nil || !strings.Contains(err.Error(), "--insecure-registry") {
		t.Errorf("without mutual TLS: %v", err)
	}
	made, err := h1.Agent().Put(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	if made.WireguardPort != 51840 || !slices.Contains(made.Requires, "encrypted") {
		t.Errorf("made %+v", made)
	}
	device := fmt.Sprintf("fwwg%d", made.VNI)
	watch := c.raised.Watch(t)
	for _, h := range c.hosts {
		eventually(t, h.Name+" has its conflist", func() bool { return exists(h.conflist("secret")) })
		h.Sh(t, "nft", "table inet theirs { chain in { type filter hook input priority -300; udp dport 4789 accept; }; chain out { type filter hook output priority -300; accept; }; }")
	}

	// No peer at all, and the first packets to one that is not known yet.
	a := h1.confide(t, "secret", "a")
	for _, addr := range []string{"10.60.200.9", "fd60::9:9"} {
		if err := testnet.Speak(a.Namespace, a.Namespace, netip.MustParseAddr(addr), time.Second); err == nil {
			t.Errorf("%s answers", addr)
		}
	}
	b := h2.confide(t, "secret", "b")
	_ = testnet.Speak(a.Namespace, b.Namespace, b.addrs[0], time.Second) // whether it is known or not
	a.speaksWith(t, b)
	b.speaksWith(t, a)
	key, err := os.ReadFile(h1.keyFile())
	if info, statErr := os.Stat(h1.keyFile()); err != nil || statErr != nil || info.Mode() != 0o600 {
		t.Errorf("key file: %v, %v, %v", info, err, statErr)
	}

	// A host that may not be on the network, and so has no key.
	if code, text := h3.refuse(t, "ADD", "secret", h3.newGuest(t, "refused")); code != 11 || !strings.Contains(text, "--insecure-registry") {
		t.Errorf("ADD on a host without mutual TLS: %d %s", code, text)
	}
	h1.told(t, "host host3: it has published no key")
	h3.kill(t)
	h3.flags["insecure-registry"] = "true"
	h3.start(t)
	d := h3.confide(t, "secret", "d")
	a.speaksWith(t, d)
	d.speaksWith(t, b)
	health, err := h1.Agent().Health(t.Context())
	if err != nil || health.Encryption == "" {
		t.Errorf("health: %+v, %v", health, err)
	}
	metrics := h1.Sh(t, "curl", "-s", "--unix-socket", "/run/fairway/fairwayd.sock", "http://fairwayd/metrics")
	for _, node := range []string{"host2", "host3"} {
		for _, name := range []string{"handshake_timestamp_seconds", "received_bytes_total", "sent_bytes_total"} {
			line := fmt.Sprintf(`fairwayd_tunnel_%s{network="secret",node="%s"} `, name, node)
			if _, after, found := strings.Cut(metrics, line); !found || strings.HasPrefix(after, "0\n") {
				t.Errorf("metrics say nothing of %s", line)
			}
		}
	}
	inProcess := health.Encryption == "userspace"
	t.Logf("encrypted by: %s", health.Encryption)

	for _, signal := range []unix.Signal{unix.SIGKILL, unix.SIGTERM} {
		if err := h1.agent.Stop(signal); err != nil {
			t.Fatal(err)
		}
		if inProcess {
			a.cutOff(t, b)
			b.cutOff(t, a)
			if code, text := h1.refuse(t, "STATUS", "secret", a.guest); code != 51 || !strings.Contains(text, "fairwayd") {
				t.Errorf("STATUS without the agent: %d %s", code, text)
			}
			if code, text := h1.refuse(t, "ADD", "secret", h1.newGuest(t, "refused"+signal.String())); code != 11 {
				t.Errorf("ADD without the agent: %d %s", code, text)
			}
		}
		h1.start(t)
		a.speaksWith(t, b)
		d.speaksWith(t, a)
	}
	if again, err := os.ReadFile(h1.keyFile()); err != nil || string(again) != string(key) {
		t.Errorf("another key after a restart, %v", err)
	}

	for _, damage := range []string{"ip link del " + device, "ip link set " + device + " down", "ip route flush proto 250 dev " + device, "nft flush ruleset"} {
		h1.Sh(t, "sh", "-c", damage)
		_ = testnet.Speak(a.Namespace, b.Namespace, b.addrs[0], time.Second)
		a.speaksWith(t, b)
		b.speaksWith(t, a)
	}

	// etcd's own traffic needs no tunnel, and the tunnel needs no etcd.
	if err := c.etcd.Kill(0); err != nil {
		t.Fatal(err)
	}
	h1.Sh(t, "ip", "link", "del", device)
	a.speaksWith(t, b)
	d.speaksWith(t, a)
	if err := c.etcd.Restart(0); err != nil {
		t.Fatal(err)
	}

	// A host that leaves takes its key from the others' devices, and one that is booted again has the same.
	before, err := os.ReadFile(h2.keyFile())
	if err != nil {
		t.Fatal(err)
	}
	h2.kill(t)
	a.cutOff(t, b)
	if err := h2.Reboot(); err != nil {
		t.Fatal(err)
	}
	watch.Follow(t, h2.Host)
	h2.start(t)
	if err := h2.AwaitHealthy(t.Context()); err != nil { // its heartbeat of the earlier boot has to end
		t.Fatal(err)
	}
	b = h2.confide(t, "secret", "b2")
	a.speaksWith(t, b)
	d.speaksWith(t, b)
	if again, err := os.ReadFile(h2.keyFile()); err != nil || string(again) != string(before) {
		t.Errorf("another key after a reboot, %v", err)
	}
	if seen := watch.Seen(t); len(seen) > 0 {
		t.Errorf("of an encrypted network the underlay shows %v", seen)
	}

	if _, err := h1.Agent().Put(t.Context(), agentapi.Network{Name: "clear", VNI: 77, Subnets: []agentapi.Subnet{
		{Prefix: netip.MustParsePrefix("10.61.0.0/16")}, {Prefix: netip.MustParsePrefix("fd61::/64")},
	}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "host2 has the plain network", func() bool { return exists(h2.conflist("clear")) })
	x, y := h1.confide(t, "clear", "x"), h2.confide(t, "clear", "y")
	x.speaksWith(t, y)
	if seen := watch.Seen(t); !slices.Contains(seen, testnet.SawPlaintext) || !slices.Contains(seen, testnet.SawVXLAN+"77") {
		t.Errorf("of a network without encryption the underlay shows %v: the test proves nothing", seen)
	}
	a.speaksWith(t, b)
}
