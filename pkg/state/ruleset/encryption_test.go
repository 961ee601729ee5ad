package ruleset_test

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// encrypted is network secret, of VNI 43.
func encrypted() ruleset.Encryption {
	return ruleset.Encryption{Network: "secret", VNI: 43, Port: 4789, Subnets: statetest.Prefixes("10.43.0.0/16", "fd43::/48")}
}

func TestEncryption(t *testing.T) {
	testnet.NewHost(t)
	e := encrypted()
	statetest.Drifts(t, nil, e, "chain encrypted of nftables table inet fairway has not the rules of this version")
	statetest.Ensure(t, statetest.Open(t, nil), e, false)
	statetest.Verifies(t, nil, e)
	for _, set := range []string{"vnis_encrypted", "encrypted4", "encrypted6", "encrypted_by4", "encrypted_by6"} {
		testnet.Sh(t, "nft", "flush set inet fairway "+set)
		statetest.Drifts(t, nil, e, "nftables set "+set+` has no element of "fairway-overlay secret"`)
		if stands, err := e.Stands(statetest.Open(t, nil)); stands || err != nil {
			t.Errorf("without %s: stands %v, %v", set, stands, err)
		}
		statetest.Ensure(t, statetest.Open(t, nil), e, false)
	}
	if stands, err := e.Stands(statetest.Open(t, nil)); !stands || err != nil {
		t.Errorf("stands %v, %v", stands, err)
	}
	testnet.Sh(t, "sh", "-c", "nft list ruleset > $0/rules && nft flush ruleset && nft -f $0/rules", t.TempDir())
	statetest.Verifies(t, nil, e)

	moved := e
	moved.VNI, moved.Subnets = 44, statetest.Prefixes("10.44.0.0/24")
	statetest.Ensure(t, statetest.Open(t, nil), moved, false)
	statetest.Verifies(t, nil, moved)
	statetest.Lacks(t, testnet.Sh(t, "nft", "list ruleset"), "10.43.", "fd43:", "0x2b")
	statetest.Removes(t, nil, moved)
	statetest.Lacks(t, testnet.Sh(t, "nft", "list ruleset"), "10.44.", "fairway-overlay secret")
}

// acceptFirst lets VXLAN and the networks through before any other filter, as an administrator's table may.
const acceptFirst = `table inet theirs {
	chain in { type filter hook input priority -300; udp dport 4789 accept; }
	chain out { type filter hook output priority -300; udp dport 4789 accept; }
	chain post { type filter hook postrouting priority -300; accept; }
	chain pre { type filter hook prerouting priority -400; accept; }
}`

// underlay is a host and a stranger on its underlay, each with a VXLAN device of the network's VNI and routes of its subnets by the
// underlay: what encryption has to hold up.
func underlay(t *testing.T) (host, stranger *testnet.Namespace) {
	t.Helper()
	host = testnet.NewHost(t)
	stranger = statetest.NewOutside(t)
	for n, at := range []*testnet.Namespace{host, stranger} {
		here, there := []string{"1", "2"}[n], []string{"2", "1"}[n]
		at.Sh(t, "ip", "link", "add", "vx43", "address", "02:00:00:00:00:0"+here, "type", "vxlan", "id", "43", "dstport", "4789",
			"local", "192.0.2."+here, "remote", "192.0.2."+there)
		at.Sh(t, "ip", "addr", "add", "10.99.0."+here+"/24", "dev", "vx43")
		at.Sh(t, "ip", "link", "set", "vx43", "up")
		at.Sh(t, "ip", "neigh", "replace", "10.99.0."+there, "lladdr", "02:00:00:00:00:0"+there, "dev", "vx43")
	}
	host.Sh(t, "sh", "-c", "ip route add 10.43.0.0/16 via 192.0.2.2 && ip -6 route add fd43::/48 via fd99::2")
	stranger.Sh(t, "sh", "-c", "ip link set lo up; ip addr add 10.43.9.9/32 dev lo && ip addr add fd43::9/128 dev lo nodad")
	host.Sh(t, "nft", acceptFirst)
	return host, stranger
}

// say sends a datagram, from an address unless that is empty.
func say(from *testnet.Namespace, source, to, text string) error {
	dialer := net.Dialer{}
	if source != "" {
		dialer.LocalAddr = &net.UDPAddr{IP: net.ParseIP(source)}
	}
	return from.Do(func() error {
		conn, err := dialer.Dial("udp", to)
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write([]byte(text))
		return err
	})
}

// heard says whether a datagram was received before those that are sent after it, and that nothing holds up.
func heard(t *testing.T, receive func() []byte, probe func() error, marker func(text string) error) bool {
	t.Helper()
	_ = probe() // one that the host's own filter drops is an error to its sender
	seen := false
	for n := range 2 { // what came through a device has gone through a queue more
		// No text twice: who does not listen sends it back.
		text := fmt.Sprintf("marker %s %d", time.Now(), n)
		if err := marker(text); err != nil {
			t.Fatal(err)
		}
		for {
			frame := receive()
			seen = seen || bytes.Contains(frame, []byte("plaintext"))
			if bytes.Contains(frame, []byte(text)) {
				break
			}
		}
	}
	return seen
}

// TestEncryptionDrops: of an encrypted network nothing leaves and nothing comes in but by its own links, whatever others accept.
// Without it each packet passes, which proves that the test would see it.
func TestEncryptionDrops(t *testing.T) {
	for _, test := range []struct {
		name       string
		out        bool
		source, to string // of the packet, and the one that passes
		marker     string
	}{
		{"VXLAN out", true, "", "10.99.0.2:9", "192.0.2.2:9"},
		{"VXLAN in", false, "", "10.99.0.1:9", "192.0.2.1:9"},
		{"to the subnet", true, "", "10.43.1.1:9", "192.0.2.2:9"},
		{"to the subnet, IPv6", true, "", "[fd43::1]:9", "[fd99::2]:9"},
		{"from the subnet", false, "10.43.9.9", "192.0.2.1:9", "192.0.2.1:9"},
		{"from the subnet, IPv6", false, "fd43::9", "[fd99::1]:9", "[fd99::1]:9"},
	} {
		t.Run(test.name, func(t *testing.T) {
			host, stranger := underlay(t)
			from, receive := host, onTheWire(t, stranger)
			if !test.out {
				from, receive = stranger, listener(t, host)
			}
			passes := func() bool {
				return heard(t, receive, func() error { return say(from, test.source, test.to, "plaintext") },
					func(text string) error { return say(from, "", test.marker, text) })
			}
			if !passes() {
				t.Error("without encryption the packet is not seen: the test proves nothing")
			}
			statetest.Ensure(t, statetest.Open(t, nil), encrypted(), false)
			if passes() {
				t.Error("a packet of the encrypted network has passed in clear")
			}
			if test.source == "" && !strings.Contains(test.to, "99") {
				host.Sh(t, "ip", "link", "set", "up0", "group", fmt.Sprint(state.Group("secret")))
				if !passes() {
					t.Error("a packet is dropped by a link of the network itself")
				}
			}
		})
	}
}

// onTheWire receives what reaches a namespace's link.
func onTheWire(t *testing.T, at *testnet.Namespace) (receive func() []byte) {
	t.Helper()
	wire := at.Capture(t, "eth0")
	return func() (frame []byte) {
		if !wire.Await(t, statetest.Patience, func(f []byte) bool { frame = f; return bytes.Contains(f, []byte("a")) }) {
			t.Fatal("nothing arrives, not even what nothing holds up")
		}
		return frame
	}
}

// listener receives datagrams to UDP port 9 of any address.
func listener(t *testing.T, at *testnet.Namespace) (receive func() []byte) {
	t.Helper()
	var server net.PacketConn
	if err := at.Do(func() (err error) { server, err = net.ListenPacket("udp", ":9"); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() }) // nothing is buffered
	return func() []byte {
		if err := server.SetReadDeadline(time.Now().Add(statetest.Patience)); err != nil {
			t.Fatal(err)
		}
		text := make([]byte, 256)
		n, _, err := server.ReadFrom(text)
		if err != nil {
			t.Fatalf("nothing arrives, not even what nothing holds up: %v", err)
		}
		return text[:n]
	}
}
