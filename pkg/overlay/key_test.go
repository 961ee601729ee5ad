package overlay

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestParseKey(t *testing.T) {
	const text = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
	key, err := ParseKey(text)
	if err != nil || key.String() != text || key.IsZero() {
		t.Errorf("got %s, %v", key, err)
	}
	for _, wrong := range []string{"", "secret", text[:40], text + text, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", strings.ReplaceAll(text, "/", "_")} {
		if _, err := ParseKey(wrong); !errors.Is(err, ErrConfig) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

// keyed is a network of which two hosts have one key.
func keyed() (Network, Hosts) {
	n := Network{Name: "secret", VNI: 1, Port: DefaultPort, Subnets: prefixes("10.42.0.0/16"), Encrypted: true, WireguardPort: DefaultWireguardPort}
	return n, Hosts{Self: netip.MustParseAddr("192.0.2.11"), Peers: []Peer{
		{Node: "a", VTEP: netip.MustParseAddr("192.0.2.12"), Blocks: prefixes("10.42.2.0/24"), Key: Key{1}},
		{Node: "b", VTEP: netip.MustParseAddr("192.0.2.11"), Blocks: prefixes("10.42.1.0/24"), Key: Key{1}},
		{Node: "c", VTEP: netip.MustParseAddr("192.0.2.13"), Blocks: prefixes("10.42.3.0/24"), Key: Key{3}},
	}}
}

// TestOneKeyTwice: WireGuard would take two hosts for one. In a list it is an error; of what others wrote, this host's stays, and the
// other is not reached.
func TestOneKeyTwice(t *testing.T) {
	n, h := keyed()
	if err := n.Check(h); err == nil || err.Error() != "peers[1].publicKey is that of peers[0] too: make each host a key of its own" {
		t.Errorf("Check: %v", err)
	}
	admitted, faults := n.Admit(h)
	if len(faults) != 1 || faults[0].String() != "host a: it has the public key of host b, too: delete its key file, so that it makes its own" {
		t.Errorf("faults: %v", faults)
	}
	if keys := []Key{admitted.Peers[0].Key, admitted.Peers[1].Key, admitted.Peers[2].Key}; keys[0] != (Key{}) || keys[1] != (Key{1}) || keys[2] != (Key{3}) {
		t.Errorf("keys: %v", keys)
	}
	if len(admitted.Peers[0].Blocks) != 1 {
		t.Error("the blocks of the host that is left out are free for others")
	}
}

func TestEncryptedDocument(t *testing.T) {
	n, h := keyed()
	h.Peers[0].Key = Key{2}
	for _, port := range []uint16{DefaultWireguardPort, 51820} {
		n.WireguardPort = port
		again, err := Decode(Document{Network: &n, Hosts: h}.Encode())
		if err != nil || !again.Network.Encrypted || again.Network.WireguardPort != port || again.Peers[0].Key != (Key{2}) {
			t.Errorf("read again: %+v, %v", again, err)
		}
	}
}
