package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// runOverlayExample runs the example as the first host of its list: two containers reach each other and the outside, and
// what they leave goes with GC. Other hosts are not needed for that; the tests of the plugin have them.
func runOverlayExample(t *testing.T, path string) {
	t.Helper()
	conf, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	runOverlay(t, conf)
}

func runOverlay(t *testing.T, conf []byte) {
	t.Helper()
	n := newNetwork(t, conf)
	o := newOutside(t)
	o.mirror(t)
	succeed(t, command(t, "ip", "addr", "add", "192.0.2.11/32", "dev", "uplink"))
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()

	a, b := n.attach(ctx, t, "a", 8080), n.attach(ctx, t, "b", 8081)
	if len(a.addresses) != 2 || !a.reachesNeighbour(b) || !b.reachesNeighbour(a) || !a.reachesOutside() {
		t.Errorf("%v: neighbour %t and %t, outside %t", a.addresses, a.reachesNeighbour(b), b.reachesNeighbour(a), a.reachesOutside())
	}
	for _, c := range []example{a, b} {
		rt := c.attachment
		if err := errors.Join(n.check(ctx, rt), n.del(ctx, rt), n.del(ctx, rt)); err != nil {
			t.Error(err)
		}
		wantLinks(t, c.ns, "lo")
	}
	if err := n.collect(t, nil); err != nil {
		t.Error(err)
	}
	wantNothing(t, n.list.Name)
}

// runEncryptedExample runs it with a key made as docs/encryption.md says. A kernel without WireGuard is named, and nothing is made.
func runEncryptedExample(t *testing.T, path string) {
	t.Helper()
	conf, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "secret.key")
	public := strings.TrimSpace(succeed(t, fairway(t, "overlay", "genkey", file)))
	conf = bytes.ReplaceAll(conf, []byte("/etc/fairway/secret.key"), []byte(file))
	conf = bytes.ReplaceAll(conf, []byte("hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="), []byte(public))
	if command(t, "ip", "link", "add", "probe", "type", "wireguard").Run() == nil {
		succeed(t, command(t, "ip", "link", "del", "probe"))
		runOverlay(t, conf)
		return
	}
	n := newNetwork(t, conf)
	newOutside(t)
	succeed(t, command(t, "ip", "addr", "add", "192.0.2.11/32", "dev", "uplink"))
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	_, err = n.add(ctx, attachment("a", testnet.NewNS(t, "a").Path))
	var refusal *types.Error
	if !errors.As(err, &refusal) || refusal.Code != 7 || !strings.Contains(refusal.Error(), "WireGuard") {
		t.Errorf("ADD without WireGuard: %v", err)
	}
	wantNothing(t, n.list.Name)
}
