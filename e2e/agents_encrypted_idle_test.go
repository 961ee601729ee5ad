package e2e

import (
	"flag"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// sessionLife is how long the keys of a WireGuard session may be used (RejectAfterTime): whoever says something later begins anew,
// whether minutes or hours have passed.
const sessionLife = 3 * time.Minute

var idleFor = flag.Duration("idle", sessionLife+10*time.Second, "how long containers say nothing in TestEncryptedIdle")

// TestEncryptedIdle: after a time in which nobody says anything, no host has a session, nor knows a neighbour or a connection. The first
// packets of each family and each direction arrive, and are as secret as any.
func TestEncryptedIdle(t *testing.T) {
	t.Parallel()
	c := newConfidants(t)
	time.Sleep(*idleFor)
	// The kernel may have said something when the containers' links were new, as it looks for routers.
	for range 3 {
		if ago := time.Since(c.handshake(t, c.h1, "host2")); ago < *idleFor {
			time.Sleep(*idleFor - ago)
		}
	}
	for _, h := range c.hosts {
		h.Sh(t, "ip", "neigh", "flush", "all")
		h.Sh(t, "conntrack", "-F")
	}
	for _, guest := range []confidant{c.a, c.b, c.d} {
		guest.Sh(t, "ip", "neigh", "flush", "all")
	}
	asked := time.Now()
	if last := c.handshake(t, c.h1, "host2"); asked.Sub(last) < sessionLife {
		t.Fatalf("the last handshake was %v ago, as something was said: the test proves nothing", asked.Sub(last))
	}
	for i := range c.b.addrs {
		c.firstArrive(t, c.a, c.b, i)
		c.firstArrive(t, c.d, c.a, i)
	}
	if last := c.handshake(t, c.h1, "host2"); last.Before(asked) {
		t.Errorf("no handshake since %v: what has arrived had a session", asked.Sub(last))
	}
	c.speak(t)
	c.sawNothing(t)
}

// firstArrive sends for a moment, and expects the first packet to arrive, as all others.
func (c *confidants) firstArrive(t *testing.T, from, to confidant, addr int) {
	t.Helper()
	flow, err := testnet.StartFlow(from.Namespace, to.Namespace, to.addrs[addr])
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "something arrives", func() bool { return flow.Count() > 0 })
	if err := flow.Stop(patience); err != nil {
		t.Errorf("from %s to %s, after %v in which nobody said anything: %v", from.inside, to.addrs[addr], *idleFor, err)
	}
}

// handshake is when a host's last one with another was.
func (c *confidants) handshake(t *testing.T, h *member, node string) time.Time {
	t.Helper()
	metrics := h.Sh(t, "curl", "-s", "--unix-socket", "/run/fairway/fairwayd.sock", "http://fairwayd/metrics")
	_, after, _ := strings.Cut(metrics, `fairwayd_tunnel_handshake_timestamp_seconds{network="secret",node="`+node+`"} `)
	value, _, _ := strings.Cut(after, "\n")
	seconds, err := strconv.ParseFloat(value, 64)
	if err != nil {
		t.Fatalf("metrics say nothing of a handshake with %s: %v", node, err)
	}
	return time.UnixMilli(int64(seconds * 1000))
}
