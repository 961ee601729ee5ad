package e2e

import (
	"context"
	"errors"
	"os"
	"testing"
)

// runOverlayExample runs the example as the first host of its list: two containers reach each other and the outside, and
// what they leave goes with GC. Other hosts are not needed for that; the tests of the plugin have them.
func runOverlayExample(t *testing.T, path string) {
	t.Helper()
	conf, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
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
