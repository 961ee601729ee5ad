package agent

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/registry"
)

// TestDescribeEncrypted: hosts have the keys of their records, one without is named and reached by nothing, and a plain network has
// none of them.
func TestDescribeEncrypted(t *testing.T) {
	n := blue()
	n.Members = map[string]registry.Member{"a": {Version: 1}, "b": {Version: 1}, "c": {Version: 1}}
	v := blueView()
	v.key = overlay.Key{1}
	v.state.Hosts = map[string]registry.Host{
		"a": {VTEP: addr("192.0.2.11"), PublicKey: overlay.Key{9}}, // not published anew yet
		"b": {VTEP: addr("192.0.2.12"), PublicKey: overlay.Key{2}}, "c": {VTEP: addr("192.0.2.13")},
	}
	keys := func(s snapshot) (list []overlay.Key) {
		for _, p := range s.hosts.Peers {
			list = append(list, p.Key)
		}
		return list
	}
	plain, _, _ := v.describe(n)
	if diff := cmp.Diff([]overlay.Key{{}, {}, {}}, keys(plain)); diff != "" {
		t.Errorf("plain (-want +got):\n%s", diff)
	}
	n.Definition.Encrypted, n.Definition.WireguardPort = true, 51840
	snap, faults, _ := v.describe(n)
	if diff := cmp.Diff([]overlay.Key{{1}, {2}, {}}, keys(snap)); diff != "" {
		t.Errorf("encrypted (-want +got):\n%s", diff)
	}
	if text := faultsOf(n, faults).Error(); !strings.Contains(text, "host c: it has published no key, and the network is encrypted: it is not reached") {
		t.Errorf("faults: %s", text)
	}
	// On disk, and again.
	data, err := snap.full()
	if err != nil {
		t.Fatal(err)
	}
	again, err := decodeSnapshot(data)
	if err != nil || !again.equal(snap) || !again.network().Encrypted {
		t.Errorf("read again: %+v, %v", again, err)
	}
	changed := snap
	changed.hosts.Peers = append([]overlay.Peer(nil), snap.hosts.Peers...)
	changed.hosts.Peers[1].Key = overlay.Key{3}
	if changed.equal(snap) {
		t.Error("another key is no change")
	}
	// The store went back, and has lost b's record.
	before := snap
	v.before = &before
	delete(v.state.Hosts, "b")
	delete(n.Members, "b")
	if snap, _, _ := v.describe(n); len(snap.hosts.Peers) != 3 || snap.hosts.Peers[2].Key != (overlay.Key{2}) {
		t.Errorf("a key that the store has lost: %v", snap.hosts.Peers)
	}
}

// TestConflistOfEncrypted is refused by a plugin that does not know encryption: it has subnets and no vni.
func TestConflistOfEncrypted(t *testing.T) {
	c := newConflists(Defaults(), store{dir: "/state"})
	n := agentapi.Network{Name: "secret", VNI: 7, Encrypted: true, Subnets: []agentapi.Subnet{{Prefix: prefix("10.42.0.0/16")}}}
	text, err := c.definitionOf(n).Encode()
	if err != nil || !strings.Contains(string(text), `"encrypted": true`) || strings.Contains(string(text), `"vni"`) || !strings.Contains(string(text), "10.42.0.0/16") {
		t.Errorf("%s, %v", text, err)
	}
}

func TestTrusts(t *testing.T) {
	for name, c := range map[string]Config{"http": {}, "https without a certificate": {TLS: &etcd.TLS{}}} {
		if err := (&Agent{config: c}).trusts(); err == nil || !strings.Contains(err.Error(), "--insecure-registry") {
			t.Errorf("%s: %v", name, err)
		}
		c.InsecureRegistry = true
		if err := (&Agent{config: c}).trusts(); err != nil {
			t.Errorf("%s, insecure: %v", name, err)
		}
	}
}

func TestKeyring(t *testing.T) {
	dir := t.TempDir()
	r := newKeyring(dir)
	if _, err := r.private(); !errors.Is(err, errNoKey) || !r.public().IsZero() {
		t.Errorf("without a key: %v, %v", err, r.public())
	}
	made, err := r.ensure()
	if err != nil || !made || r.public().IsZero() {
		t.Fatalf("made %t, %v", made, err)
	}
	if made, err := newKeyring(dir).ensure(); made || err != nil {
		t.Errorf("again: made %t, %v", made, err)
	}
	if again := newKeyring(dir).public(); again != r.public() {
		t.Errorf("another key after a restart: %s, %s", again, r.public())
	}
	if err := os.Chmod(r.file, 0o644); err != nil {
		t.Fatal(err)
	}
	if made, err := newKeyring(dir).ensure(); made || err == nil || !strings.Contains(err.Error(), "may be read or written by others") {
		t.Errorf("a key that others may read: made %t, %v", made, err)
	}
}
