package e2e

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// ownNamespace is the namespace of whoever opens it: the host's, for a plugin that a runtime on the host executes.
const ownNamespace = "/proc/self/ns/net"

// TestCnitoolHost: the CNI library on the runtime's side reads one result and nothing after it.
func TestCnitoolHost(t *testing.T) {
	writeConf(t, `{"cniVersion": "1.1.0", "name": "shared", "plugins": [{"type": "host"}]}`)
	newOutside(t)
	host := &testnet.Namespace{Path: ownNamespace}
	before := succeed(t, command(t, "ip", "addr"))

	succeed(t, cnitool(t, "status", "shared", host))
	wantAddresses(t, succeed(t, cnitool(t, "add", "shared", host)), hostV4+"/24", hostV6+"/64")
	succeed(t, cnitool(t, "check", "shared", host))
	succeed(t, cnitool(t, "gc", "shared", host))
	succeed(t, cnitool(t, "del", "shared", host))
	succeed(t, cnitool(t, "del", "shared", host))

	other := testnet.NewNS(t, "other")
	for _, text := range []string{"is not the host's own network namespace", "ctr run --net-host", "hostNetwork: true"} {
		if said := fail(t, cnitool(t, "add", "shared", other)); !strings.Contains(said, text) {
			t.Errorf("add to another namespace: got %q, want it to say %q", said, text)
		}
	}
	succeed(t, cnitool(t, "del", "shared", other))
	wantLinks(t, other, "lo")
	if diff := cmp.Diff(before, succeed(t, command(t, "ip", "addr"))); diff != "" {
		t.Errorf("the host (-before +after):\n%s", diff)
	}
}

// runHostExample attaches what lives on the host already.
func runHostExample(t *testing.T, path string) {
	t.Helper()
	conf, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := newNetwork(t, conf)
	newOutside(t)
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	rt := attachment("a", ownNamespace)
	got, err := n.add(ctx, rt)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{hostV4 + "/24", hostV6 + "/64"}, got); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	if err := errors.Join(n.check(ctx, rt), n.del(ctx, rt), n.del(ctx, rt)); err != nil {
		t.Error(err)
	}
}
