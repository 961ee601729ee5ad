package e2e

import (
	"flag"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// former is another release of fairwayd, from which TestEncryptedUpgraded goes to this one. Unless it is given, this one takes its place: a
// clone need not have the history from which a former one is built.
var former = flag.String("former", "", "`path` of a former release's fairwayd for TestEncryptedUpgraded")

// runs has a host's agent be of the former release from its next start on, or of this one again.
func (h *member) runs(t *testing.T, release string) {
	t.Helper()
	const binary = "/opt/cni/bin/fairwayd"
	if release != "" {
		h.Sh(t, "mount", "--bind", release, binary)
	} else if *former != "" {
		h.Sh(t, "umount", binary)
	}
}

// steady are packets in both directions between two containers, of each family.
func steady(t *testing.T, a, b confidant) (flows []*testnet.Flow) {
	t.Helper()
	for i := range a.addrs {
		for _, way := range [][2]confidant{{a, b}, {b, a}} {
			flow, err := testnet.StartFlowEvery(time.Millisecond, way[0].Namespace, way[1].Namespace, way[1].addrs[i])
			if err != nil {
				t.Fatal(err)
			}
			flows = append(flows, flow)
		}
	}
	return flows
}

// goOn waits until packets of each flow arrive that were not there yet.
func goOn(t *testing.T, flows []*testnet.Flow) {
	t.Helper()
	for _, flow := range flows {
		before := flow.Count()
		eventually(t, "packets arrive again", func() bool { return flow.Count() > before })
	}
}

// TestEncryptedUpgraded: hosts go from a former release to this one, one after the other, while containers speak, and back. Releases that are
// beside each other speak, and nothing is said in clear, whichever of them is being replaced.
func TestEncryptedUpgraded(t *testing.T) {
	t.Parallel()
	c := &confidants{cluster: newCluster(t, 3, 1)}
	c.h1, c.h2, c.h3 = c.hosts[0], c.hosts[1], c.hosts[2]
	for _, h := range c.hosts {
		h.flags["insecure-registry"] = "true"
		h.runs(t, *former)
	}
	c.start(t)
	c.watch = c.raised.Watch(t)
	c.make(t)
	c.confideAll(t, 0)
	c.speak(t)
	flows := steady(t, c.a, c.b)
	replace := func(h *member, release string) {
		goOn(t, flows)
		if err := h.agent.Stop(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		h.runs(t, release)
		h.start(t)
		goOn(t, flows)
		c.speak(t)
	}
	for _, h := range c.hosts {
		replace(h, "")
	}
	replace(c.h1, *former)
	replace(c.h1, "")
	for _, flow := range flows {
		_ = flow.Stop(0) // while an agent that encrypts by itself does not run, packets are dropped
	}
	c.sawNothing(t)
}

// TestEncryptedPeersComeAndGo: hosts join and leave the network, by turns, and what two others say to each other is neither lost nor said in
// clear. Neither is what is said to hosts that have left, nor by the one that is left alone.
func TestEncryptedPeersComeAndGo(t *testing.T) {
	t.Parallel()
	c := newConfidants(t)
	flows := steady(t, c.a, c.b)
	for range 2 {
		c.forget(t, c.h3)
		c.a.cutOff(t, c.d)
		c.h3.start(t)
		c.d = c.h3.confide(t, "secret", "again"+time.Now().Format("150405"))
		c.d.speaksWith(t, c.a)
		c.a.speaksWith(t, c.d)
	}
	for i, flow := range flows {
		if err := flow.Stop(5 * time.Second); err != nil {
			t.Errorf("flow %d: %v", i, err)
		}
	}
	c.forget(t, c.h3)
	c.forget(t, c.h2)
	c.a.cutOff(t, c.b)
	c.a.cutOff(t, c.d)
	c.h2.start(t)
	c.h3.start(t)
	c.b, c.d = c.h2.confide(t, "secret", "b2"), c.h3.confide(t, "secret", "d2")
	c.speak(t)
	c.sawNothing(t)
}

// forget has a host's agent end, and the others forget the host.
func (c *confidants) forget(t *testing.T, h *member) {
	t.Helper()
	h.kill(t)
	eventually(t, h.Name+"'s heartbeat has ended", func() bool {
		out, err := c.h1.Command("/opt/cni/bin/fairway", "overlay", "forget", h.Name).CombinedOutput()
		return err == nil || !strings.Contains(string(out), "is alive")
	})
}
