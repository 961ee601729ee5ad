package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/fairway-cni/fairway/pkg/wgkey"
	"github.com/fairway-cni/fairway/pkg/wgtun"
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

// secret is an encrypted network as it is asked for.
var secret = agentapi.Network{Name: "secret", Encrypted: true, Subnets: []agentapi.Subnet{
	{Prefix: netip.MustParsePrefix("10.60.0.0/16")}, {Prefix: netip.MustParsePrefix("fd60::/64")},
}}

// confidants is an encrypted network of three hosts with a container on each.
type confidants struct {
	*cluster
	h1, h2, h3 *member
	a, b, d    confidant
	network    agentapi.Network
	watch      *testnet.Witness
}

// newConfidants also watches the underlay.
func newConfidants(t *testing.T) *confidants {
	t.Helper()
	c := &confidants{cluster: newCluster(t, 3, 1)}
	c.h1, c.h2, c.h3 = c.hosts[0], c.hosts[1], c.hosts[2]
	for _, h := range c.hosts {
		h.flags["insecure-registry"] = "true"
	}
	c.start(t)
	c.watch = c.raised.Watch(t)
	c.make(t)
	c.a, c.b, c.d = c.h1.confide(t, "secret", "a"), c.h2.confide(t, "secret", "b"), c.h3.confide(t, "secret", "d")
	c.speak(t)
	return c
}

// make makes the network.
func (c *confidants) make(t *testing.T) {
	t.Helper()
	made, err := c.h1.Agent().Put(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	c.network = made
	for _, h := range c.hosts {
		eventually(t, h.Name+" has its conflist", func() bool { return exists(h.conflist("secret")) })
	}
}

// device is the network's on each host.
func (c *confidants) device() string { return overlay.TunnelName(c.network.VNI) }

// speak has each container reach each other.
func (c *confidants) speak(t *testing.T) {
	t.Helper()
	for _, pair := range [][2]confidant{{c.a, c.b}, {c.b, c.d}, {c.d, c.a}} {
		pair[0].speaksWith(t, pair[1])
		pair[1].speaksWith(t, pair[0])
	}
}

// sawNothing expects nothing of the network on the underlay, and that a network in clear would have been seen.
func (c *confidants) sawNothing(t *testing.T) {
	t.Helper()
	if seen := c.watch.Seen(t); len(seen) > 0 {
		t.Errorf("of an encrypted network the underlay shows %v", seen)
	}
	c.seesPlaintext(t)
}

// seesPlaintext is the negative control: of a network without encryption, the same capture shows what containers say.
func (c *confidants) seesPlaintext(t *testing.T) {
	t.Helper()
	if _, err := c.h1.Agent().Put(t.Context(), agentapi.Network{Name: "clear", VNI: 77, Subnets: []agentapi.Subnet{
		{Prefix: netip.MustParsePrefix("10.61.0.0/16")}, {Prefix: netip.MustParsePrefix("fd61::/64")},
	}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "host2 has the plain network", func() bool { return exists(c.h2.conflist("clear")) })
	x, y := c.h1.confide(t, "clear", "x"), c.h2.confide(t, "clear", "y")
	x.speaksWith(t, y)
	if seen := c.watch.Seen(t); !slices.Contains(seen, testnet.SawPlaintext) || !slices.Contains(seen, testnet.SawVXLAN+"77") {
		t.Errorf("of a network without encryption the underlay shows %v: the test proves nothing", seen)
	}
}

// TestEncryptedOverlay: containers speak from the first host on, through what the kernel or fairwayd encrypts, whatever others accept
// first. A host that may not be on the network is not reached, and named.
func TestEncryptedOverlay(t *testing.T) {
	t.Parallel()
	c := &confidants{cluster: newCluster(t, 3, 1)}
	c.h1, c.h2, c.h3 = c.hosts[0], c.hosts[1], c.hosts[2]
	c.h1.flags["insecure-registry"], c.h2.flags["insecure-registry"] = "true", "true"
	c.start(t)
	if _, err := c.h3.Agent().Put(t.Context(), secret); err == nil || !strings.Contains(err.Error(), "--insecure-registry") {
		t.Errorf("without mutual TLS: %v", err)
	}
	c.watch = c.raised.Watch(t)
	c.make(t)
	if c.network.WireguardPort != 51840 || !slices.Contains(c.network.Requires, "encrypted") {
		t.Errorf("made %+v", c.network)
	}
	for _, h := range c.hosts {
		h.Sh(t, "nft", "table inet theirs { chain in { type filter hook input priority -300; udp dport 4789 accept; }; chain out { type filter hook output priority -300; accept; }; }")
	}
	c.firstPackets(t)
	if info, err := os.Stat(c.h1.keyFile()); err != nil || info.Mode() != 0o600 {
		t.Errorf("key file: %v, %v", info, err)
	}
	c.withoutKey(t)
	c.d = c.h3.confide(t, "secret", "d")
	c.speak(t)
	c.told(t)
	if picture := succeed(t, c.h1.Command("/opt/cni/bin/fairway", "topology", "-o", "json")); !strings.Contains(picture, `"encrypted"`) || !strings.Contains(picture, c.device()) {
		t.Errorf("topology says nothing of encryption:\n%s", picture)
	}
	c.sawNothing(t)
	c.speak(t)
}

// firstPackets go to nobody, and to a container whose host is not known yet.
func (c *confidants) firstPackets(t *testing.T) {
	t.Helper()
	c.a = c.h1.confide(t, "secret", "a")
	for _, addr := range []string{"10.60.200.9", "fd60::9:9"} {
		if err := testnet.Speak(c.a.Namespace, c.a.Namespace, netip.MustParseAddr(addr), time.Second); err == nil {
			t.Errorf("%s answers", addr)
		}
	}
	c.b = c.h2.confide(t, "secret", "b")
	_ = testnet.Speak(c.a.Namespace, c.b.Namespace, c.b.addrs[0], time.Second) // whether it is known or not
	c.a.speaksWith(t, c.b)
	c.b.speaksWith(t, c.a)
}

// withoutKey: host3 may not be on the network, and so has no key. Neither has one whose record an earlier release wrote.
func (c *confidants) withoutKey(t *testing.T) {
	t.Helper()
	if code, text := c.h3.refuse(t, "ADD", "secret", c.h3.newGuest(t, "refused")); code != 11 || !strings.Contains(text, "--insecure-registry") {
		t.Errorf("ADD on a host without mutual TLS: %d %s", code, text)
	}
	c.h1.told(t, "host host3: it has published no key")
	earlier := map[string]string{
		"nodes/earlier": `{"version":1,"vtep":"192.0.2.99","mtu":1500}`, "net/secret/nodes/earlier": `{"version":1}`, "net/secret/blocks/10.60.255.192/26": "earlier",
	}
	for key, value := range earlier {
		if _, err := c.etcd.Ctl(0, "put", "/fairway/v1/"+key, value); err != nil {
			t.Fatal(err)
		}
	}
	c.h1.told(t, "host earlier: it has published no key")
	if err := testnet.Speak(c.a.Namespace, c.a.Namespace, netip.MustParseAddr("10.60.255.200"), time.Second); err == nil {
		t.Error("a host without a key answers")
	}
	for key := range earlier {
		if _, err := c.etcd.Ctl(0, "del", "/fairway/v1/"+key); err != nil {
			t.Fatal(err)
		}
	}
	c.h3.kill(t)
	c.h3.flags["insecure-registry"] = "true"
	c.h3.start(t)
}

// told: health and metrics tell of what encrypts, and of each peer.
func (c *confidants) told(t *testing.T) {
	t.Helper()
	health, err := c.h1.Agent().Health(t.Context())
	if err != nil || health.Encryption == "" {
		t.Errorf("health: %+v, %v", health, err)
	}
	metrics := c.h1.Sh(t, "curl", "-s", "--unix-socket", "/run/fairway/fairwayd.sock", "http://fairwayd/metrics")
	for _, node := range []string{"host2", "host3"} {
		for _, name := range []string{"handshake_timestamp_seconds", "received_bytes_total", "sent_bytes_total"} {
			line := fmt.Sprintf(`fairwayd_tunnel_%s{network="secret",node="%s"} `, name, node)
			if _, after, found := strings.Cut(metrics, line); !found || strings.HasPrefix(after, "0\n") {
				t.Errorf("metrics say nothing of %s", line)
			}
		}
	}
}

// TestEncryptedAgentEnds: while an agent that encrypts by itself does not run, nothing passes, and the plugin says so.
func TestEncryptedAgentEnds(t *testing.T) {
	t.Parallel()
	c := newConfidants(t)
	before, err := os.ReadFile(c.h1.keyFile())
	if err != nil {
		t.Fatal(err)
	}
	health, err := c.h1.Agent().Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, signal := range []unix.Signal{unix.SIGKILL, unix.SIGTERM} {
		if err := c.h1.agent.Stop(signal); err != nil {
			t.Fatal(err)
		}
		if health.Encryption == "userspace" {
			c.a.cutOff(t, c.b)
			c.b.cutOff(t, c.a)
			if code, text := c.h1.refuse(t, "STATUS", "secret", c.a.guest); code != 51 || !strings.Contains(text, "fairwayd") {
				t.Errorf("STATUS without the agent: %d %s", code, text)
			}
			if code, text := c.h1.refuse(t, "ADD", "secret", c.h1.newGuest(t, "refused"+signal.String())); code != 11 {
				t.Errorf("ADD without the agent: %d %s", code, text)
			}
		}
		if signal == unix.SIGKILL {
			c.unanswered(t, "network secret: host host1 does not answer at 192.0.2.11:51840, last handshake: ")
		}
		c.h1.start(t)
		c.speak(t)
	}
	c.unanswered(t, "")
	if again, err := os.ReadFile(c.h1.keyFile()); err != nil || string(again) != string(before) {
		t.Errorf("another key after a restart, %v", err)
	}
	c.sawNothing(t)
}

// unanswered waits until host2 says of host1 that it does not answer, or says nothing, and doctor with it. That is no problem of host2's.
func (c *confidants) unanswered(t *testing.T, want string) {
	t.Helper()
	eventually(t, "host2 says "+want, func() bool {
		health, err := c.h2.Agent().Health(t.Context())
		said := strings.Join(health.Unanswered, "\n")
		return err == nil && health.Healthy && strings.Contains(said, want) && (want != "" || said == "")
	})
	out, _ := c.h2.Command("/opt/cni/bin/fairway", "doctor").CombinedOutput() // it may find something else
	if strings.Contains(string(out), "does not answer at") != (want != "") {
		t.Errorf("doctor, where health says %q:\n%s", want, out)
	}
}

// TestEncryptedDamaged: what somebody takes away comes back, and what is left refuses meanwhile. With the device, sessions go: the next
// packet is the first for a peer, as after a long time without any. Neither needs etcd, nor does etcd need the tunnel.
func TestEncryptedDamaged(t *testing.T) {
	t.Parallel()
	c := newConfidants(t)
	damages := []string{"ip link del " + c.device(), "ip link set " + c.device() + " down", "ip route flush proto 250 dev " + c.device(), "nft flush ruleset"}
	for _, etcd := range []string{"up", "down"} {
		for _, damage := range damages {
			c.h1.Sh(t, "sh", "-c", damage)
			_ = testnet.Speak(c.a.Namespace, c.b.Namespace, c.b.addrs[0], time.Second)
			c.a.speaksWith(t, c.b)
			c.d.speaksWith(t, c.a)
		}
		if etcd == "up" {
			if err := c.etcd.Kill(0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.etcd.Restart(0); err != nil {
		t.Fatal(err)
	}
	c.sawNothing(t)
}

// TestEncryptedRebooted: a host that is booted again, and all of them at once, have the keys that they had, and speak again.
func TestEncryptedRebooted(t *testing.T) {
	t.Parallel()
	c := newConfidants(t)
	keys := make(map[*member]string)
	for _, h := range c.hosts {
		key, err := os.ReadFile(h.keyFile())
		if err != nil {
			t.Fatal(err)
		}
		keys[h] = string(key)
	}
	for round, hosts := range [][]*member{{c.h2}, c.hosts} {
		for _, h := range hosts {
			h.kill(t)
		}
		if round == 0 {
			c.a.cutOff(t, c.b)
		}
		for _, h := range hosts {
			if err := h.Reboot(); err != nil {
				t.Fatal(err)
			}
			c.watch.Follow(t, h.Host)
		}
		for _, h := range hosts {
			h.start(t)
		}
		for i, h := range c.hosts {
			if err := h.AwaitHealthy(t.Context()); err != nil { // its heartbeat of the earlier boot has to end
				t.Fatal(err)
			}
			if !slices.Contains(hosts, h) {
				continue
			}
			*[]*confidant{&c.a, &c.b, &c.d}[i] = h.confide(t, "secret", fmt.Sprint(h.Name, round))
			if again, err := os.ReadFile(h.keyFile()); err != nil || string(again) != keys[h] {
				t.Errorf("another key after a reboot, %v", err)
			}
		}
		c.speak(t)
	}
	c.sawNothing(t)
}

// TestEncryptedWithFullDisk: a host whose state directory is full has no key to begin with, says so, and lets nothing out. With room it
// is a member, and stays one when the disk is full again.
func TestEncryptedWithFullDisk(t *testing.T) {
	t.Parallel()
	c := &confidants{cluster: newCluster(t, 2, 1)}
	c.h1, c.h2 = c.hosts[0], c.hosts[1]
	for _, h := range c.hosts {
		h.flags["insecure-registry"] = "true"
	}
	const dir = "/var/lib/fairway"
	c.h2.Sh(t, "sh", "-c", "mkdir -p "+dir+" && mount -t tmpfs -o size=256k state "+dir)
	t.Cleanup(func() { c.h2.try("umount", "-l", dir) })
	c.start(t)
	c.watch = c.raised.Watch(t)
	c.make(t)
	c.a = c.h1.confide(t, "secret", "a")
	full := "dd if=/dev/zero of=" + dir + "/filler bs=4k 2>/dev/null || true"
	c.h2.Sh(t, "sh", "-c", full)
	if code, text := c.h2.refuse(t, "ADD", "secret", c.h2.newGuest(t, "refused")); code != 11 || !strings.Contains(text, "no space left") {
		t.Errorf("ADD on a host without room for its key: %d %s", code, text)
	}
	c.h2.told(t, "key of this host")
	c.h2.Sh(t, "rm", dir+"/filler")
	c.b = c.h2.confide(t, "secret", "b")
	c.a.speaksWith(t, c.b)
	c.h2.Sh(t, "sh", "-c", full)
	c.h2.Sh(t, "ip", "link", "del", c.device())
	c.a.speaksWith(t, c.b)
	c.b.speaksWith(t, c.a)
	c.h2.Sh(t, "rm", dir+"/filler")
	c.sawNothing(t)
}

// usurp ends a host's agent, and has the test be the host to host1: it has the key, and speaks to whom it pleases.
func (c *confidants) usurp(t *testing.T, h *member) *wgtun.Devices {
	t.Helper()
	h.kill(t)
	key, err := wgkey.Read(h.keyFile())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := wgkey.Read(c.h1.keyFile())
	if err != nil {
		t.Fatal(err)
	}
	devices, private, port := wgtun.New(), wgtypes.Key(key), int(c.network.WireguardPort)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = c.device(), 1440
	public := peer.Public()
	endpoint, all := netip.AddrPortFrom(c.h1.V4, c.network.WireguardPort), netip.MustParsePrefix("10.60.0.0/16")
	if err := h.Do(func() error {
		if err := devices.Make(nil, attrs); err != nil {
			return err
		}
		return devices.Configure(attrs.Name, wgtypes.Config{PrivateKey: &private, ListenPort: &port, Peers: []wgtypes.PeerConfig{{
			PublicKey: wgtypes.Key(public), Endpoint: net.UDPAddrFromAddrPort(endpoint), AllowedIPs: []net.IPNet{{IP: all.Addr().AsSlice(), Mask: net.CIDRMask(16, 32)}},
		}}})
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(devices.Close)
	h.Sh(t, "ip", "link", "set", c.device(), "group", fmt.Sprint(state.Group("secret")), "up")
	h.Sh(t, "ip", "route", "replace", c.a.addrs[0].String(), "dev", c.device())
	return devices
}

// TestEncryptedForeignSource: a host with a key of the network sends from the address of another host's container. It does not arrive,
// while what it sends from its own block does.
func TestEncryptedForeignSource(t *testing.T) {
	t.Parallel()
	c := newConfidants(t)
	own, foreign := c.d.addrs[0].Next(), c.b.addrs[0].Next()
	c.usurp(t, c.h3)
	inside := c.a.Capture(t, "eth0")
	for _, source := range []netip.Addr{foreign, own} {
		c.h3.Sh(t, "ip", "addr", "add", source.String()+"/32", "dev", c.device())
		_ = c.h3.Command("busybox", "ping", "-c1", "-W1", "-I", source.String(), c.a.addrs[0].String()).Run() // there need not be an answer
	}
	arrived := false
	if !inside.Await(t, patience, func(frame []byte) bool {
		arrived = arrived || isEchoFrom(foreign.String())(frame)
		return isEchoFrom(own.String())(frame)
	}) {
		t.Error("what comes from the host's own block does not arrive: the test proves nothing")
	}
	if arrived {
		t.Errorf("a packet from %s, of another host's block, has arrived", foreign)
	}
}

// TestEncryptedForgotten: a host that is forgotten is refused within a second, with the session that it has.
func TestEncryptedForgotten(t *testing.T) {
	t.Parallel()
	c := newConfidants(t)
	c.usurp(t, c.h3)
	flow, err := testnet.StartFlow(c.d.Namespace, c.a.Namespace, c.a.addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	began := flow.Count()
	eventually(t, "the host has a session", func() bool { return flow.Count() > began+10 })
	eventually(t, "the host's heartbeat has ended", func() bool {
		out, err := c.h1.Command("/opt/cni/bin/fairway", "overlay", "forget", "host3").CombinedOutput()
		return err == nil || !strings.Contains(string(out), "is alive")
	})
	asked := flow.Count()
	aSecond()
	second := flow.Count()
	aSecond()
	if later := flow.Count(); later > second {
		t.Errorf("%d packets have arrived later than a second after the host was forgotten", later-second)
	}
	t.Logf("%d packets arrived within a second after the host was forgotten", second-asked)
	if asked == began {
		t.Error("nothing had arrived before: the test proves nothing")
	}
	_ = flow.Stop(0) // it has lost what it had to
	c.a.speaksWith(t, c.b)
	c.sawNothing(t)
}

// aSecond is a second of a machine that has processors to spare, and longer of one that has not: there the agent has to wait for one, too, and so
// has who counts what arrives.
func aSecond() {
	const parts = 100
	for range parts {
		time.Sleep(time.Second / parts)
	}
}
