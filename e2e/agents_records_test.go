package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// What one host, a person or a later release writes wrongly costs the others nothing: networks work, new hosts and blocks are
// programmed, and health names the key.
func TestBadRecordsAreLeftOut(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, 1)
	c.start(t)
	h1, h2, h3 := c.hosts[0], c.hosts[1], c.hosts[2]
	blue := c.put(t, h1, overlayNet("blue", "10.42.0.0/16"))
	c.put(t, h1, overlayNet("green", "10.43.0.0/16"))
	const root = "/fairway/v1/"
	for i, test := range []struct{ key, value, named string }{
		{"net/blue/blocks/10.99.0.0/24", "host1", "10.99.0.0/24"},
		{"net/blue/blocks/10.42.77.7/26", "host1", "10.42.77.7/26"},
		{"net/blue/blocks/10.42.0.0/16", "host2", "10.42.0.0/16"},
		{"net/blue/blocks/nonsense", "host2", "blocks/nonsense"},
		{"net/blue/pins/1.2.3.4", `{"node":"host2"}`, "1.2.3.4"},
		{"net/blue/nodes/x", `{"vtep": "127.0.0.1"}`, "nodes/x"},
		{"net/blue/nodes/x", `{"vtep": "224.0.0.1"}`, "nodes/x"},
		{"net/blue/nodes/x", `{"vtep": "fe80::1%eth0"}`, "nodes/x"},
		{"net/blue/nodes/x", `{"vtep": "2001:db8::99"}`, "host x"},
		{"net/blue/nodes/x", `{`, "nodes/x"},
		{"networks/green", `{"name": "green", "blockLength": 31}`, "definition of network green"},
		{"networks/green", `nonsense`, "definition of network green"},
	} {
		if _, err := c.etcd.Ctl(0, "put", root+test.key, test.value); err != nil {
			t.Fatal(err)
		}
		eventually(t, "h1 names "+test.key, func() bool { return says(t, h1, test.named) })
		guest, addr := h2.add(t, "blue", fmt.Sprint("while", i))
		h1.ping(t, addr)
		succeed(t, h2.cni(t, "check", "blue", guest))
		h1.kill(t) // and it starts with what it has
		h1.start(t)
		h1.ping(t, addr)
		for _, h := range c.hosts {
			if !exists(h.conflist("green")) {
				t.Errorf("%s: a network is gone from %s", test.key, h.Name)
			}
		}
		succeed(t, h2.cni(t, "del", "blue", guest))
		if strings.HasPrefix(test.key, "networks/") {
			h3.add(t, "green", fmt.Sprint("kept", i))
			continue
		}
		if _, err := c.etcd.Ctl(0, "del", root+test.key); err != nil {
			t.Fatal(err)
		}
		awaitHealthy(t, h1)
	}
	c.awaitPeers(t, h1, blue, 2)
	if _, err := os.Stat(h1.conflist("green")); err != nil {
		t.Error(err)
	}
}
