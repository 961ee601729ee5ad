package registry

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/overlay"
)

func secret(name, subnet string) agentapi.Network {
	return agentapi.Network{Name: name, Encrypted: true, Subnets: []agentapi.Subnet{{Prefix: prefix(subnet)}}}
}

// TestCreateEncrypted: an encrypted network has a port of its own, and requires what a host has to know of it.
func TestCreateEncrypted(t *testing.T) {
	_, c := newStore(t)
	one, err := c.Create(t.Context(), secret("one", "10.42.0.0/16"))
	if err != nil || one.WireguardPort != overlay.DefaultWireguardPort || !slices.Equal(one.Requires, []string{"encrypted"}) {
		t.Fatalf("made %+v, %v", one, err)
	}
	if again, err := c.Create(t.Context(), secret("one", "10.42.0.0/16")); err != nil || !again.Same(one) {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	if two, err := c.Create(t.Context(), secret("two", "10.43.0.0/16")); err != nil || two.WireguardPort != overlay.DefaultWireguardPort+1 {
		t.Errorf("made %+v, %v", two, err)
	}
	taken := secret("three", "10.44.0.0/16")
	taken.WireguardPort = overlay.DefaultWireguardPort
	if _, err := c.Create(t.Context(), taken); !errors.Is(err, agentapi.ErrExists) || !strings.Contains(err.Error(), "wireguardPort 51840 is that of network one") {
		t.Errorf("a port that is taken: %v", err)
	}
	for _, spare := range []uint16{overlay.DefaultWireguardPort + 4096, overlay.DefaultWireguardPort + 1 - 4096} {
		taken.WireguardPort = spare
		if _, err := c.Create(t.Context(), taken); !errors.Is(err, agentapi.ErrExists) || !strings.Contains(err.Error(), "are 4096 apart") {
			t.Errorf("port %d, which the other needs while a key is replaced: %v", spare, err)
		}
	}
	plain := secret("one", "10.42.0.0/16")
	plain.Encrypted = false
	if _, err := c.Create(t.Context(), plain); !errors.Is(err, agentapi.ErrExists) {
		t.Errorf("the same without encryption: %v", err)
	}
	for want, n := range map[string]agentapi.Network{
		"wireguardPort is set, and the network is not encrypted": {WireguardPort: 1},
		`requires has "encrypted", and the network is not`:       {Requires: []string{"encrypted"}},
		"wireguardPort 4789 is that of VXLAN":                    {Encrypted: true, WireguardPort: 4789},
	} {
		n.Name, n.Subnets = "n", []agentapi.Subnet{{Prefix: prefix("10.45.0.0/16")}}
		if _, err := c.Create(t.Context(), n); !errors.Is(err, agentapi.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestReleaseWithoutEncryption keeps off an encrypted network: its definition is one that it cannot read.
func TestReleaseWithoutEncryption(t *testing.T) {
	made, err := Complete(secret("one", "10.42.0.0/16"))
	if err != nil {
		t.Fatal(err)
	}
	known := features
	features = nil
	defer func() { features = known }()
	_, err = readDefinition("one", `{"name": "one", "vni": 5, "subnets": [{"prefix": "10.42.0.0/16", "blockLength": 26}], "encrypted": true, "requires": ["`+made.Requires[0]+`"]}`)
	if err == nil || err.Error() != `it requires "encrypted", which this release does not know` {
		t.Errorf("got %v", err)
	}
}

// TestKeyInRecord: the public key is in a host's record, and goes from it when the host has none any more.
func TestKeyInRecord(t *testing.T) {
	value, err := merged(`{"vtep": "192.0.2.11", "later": 1}`, Host{VTEP: addr("192.0.2.11"), PublicKey: overlay.Key{1}})
	if err != nil || !strings.Contains(value, `"publicKey":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="`) || !strings.Contains(value, `"later":1`) {
		t.Fatalf("%s, %v", value, err)
	}
	if h, err := readHost(value); err != nil || h.PublicKey != (overlay.Key{1}) {
		t.Errorf("read: %+v, %v", h, err)
	}
	if value, err = merged(value, Host{VTEP: addr("192.0.2.11")}); err != nil || strings.Contains(value, "publicKey") {
		t.Errorf("without a key: %s, %v", value, err)
	}
	if _, err := readHost(`{"vtep": "192.0.2.11", "publicKey": "x"}`); err == nil {
		t.Error("a key that is none is read")
	}
}
