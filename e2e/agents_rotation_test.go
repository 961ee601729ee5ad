package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// streams are packets between containers all the time: in each direction, of each family, and a connection.
type streams struct {
	flows []*testnet.Flow
	tcp   []*testnet.Stream
}

func (c *confidants) stream(t *testing.T) (s streams) {
	t.Helper()
	for _, way := range []struct {
		from, to confidant
		addr     int
	}{{c.a, c.b, 0}, {c.b, c.a, 0}, {c.d, c.a, 0}, {c.b, c.d, 0}, {c.a, c.b, 1}} {
		flow, err := testnet.StartFlowEvery(time.Millisecond, way.from.Namespace, way.to.Namespace, way.to.addrs[way.addr])
		if err != nil {
			t.Fatal(err)
		}
		s.flows = append(s.flows, flow)
	}
	for _, far := range []confidant{c.b, c.d} {
		stream, err := testnet.StartStream(c.a.Namespace, far.Namespace, far.addrs[0])
		if err != nil {
			t.Fatal(err)
		}
		s.tcp = append(s.tcp, stream)
	}
	return s
}

func (s streams) lostNothing(t *testing.T) {
	t.Helper()
	for i, flow := range s.flows {
		if err := flow.Stop(5 * time.Second); err != nil {
			t.Errorf("flow %d: %v", i, err)
		}
	}
	for i, stream := range s.tcp {
		if err := stream.Stop(5 * time.Second); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
	}
}

// explain tells, when something was lost, what the hosts have and what their links have dropped.
func (c *confidants) explain(t *testing.T) {
	t.Helper()
	if !t.Failed() {
		return
	}
	for _, h := range c.hosts {
		t.Log(h.Name, h.try("sh", "-c", "ip -s -o link; ip route; curl -s --unix-socket /run/fairway/fairwayd.sock http://fairwayd/metrics | grep ^fairwayd_tunnel"))
	}
}

// rotateKey replaces a host's key, as an administrator does.
func (h *member) rotateKey(t *testing.T) string {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	out, err := h.Command(filepath.Join(root, "bin", "fairwayd"), "rotate-key").CombinedOutput()
	if err != nil {
		t.Fatalf("rotate-key: %v\n%s", err, out)
	}
	return string(out)
}

// TestKeyIsRotated: a host's key is replaced while containers speak in all directions. Nothing is lost, no connection ends, and nothing
// is left of the former key, though hosts take packets by one way alone that they would answer by (rp_filter).
func TestKeyIsRotated(t *testing.T) {
	t.Parallel()
	c := newConfidants(t)
	for _, h := range c.hosts {
		h.Sh(t, "sysctl", "-q", "-w", "net.ipv4.conf.all.rp_filter=1")
	}
	before, err := os.ReadFile(c.h1.keyFile())
	if err != nil {
		t.Fatal(err)
	}
	s := c.stream(t)
	out := c.h1.rotateKey(t)
	s.lostNothing(t)
	c.explain(t)
	after, err := os.ReadFile(c.h1.keyFile())
	if err != nil || string(after) == string(before) {
		t.Errorf("the key file has not changed, %v", err)
	}
	fresh := strings.Fields(strings.TrimPrefix(out, "new public key "))[0]
	spare := fmt.Sprintf("fwwgs%d", c.network.VNI)
	for _, h := range c.hosts {
		eventually(t, h.Name+" has no spare device", func() bool { return !strings.Contains(h.try("ip", "-o", "link"), spare) })
	}
	if record, err := c.etcd.Ctl(0, "get", "--print-value-only", "/fairway/v1/nodes/host1"); err != nil || !strings.Contains(record, `"publicKey":"`+fresh+`"`) || strings.Contains(record, "nextKey") {
		t.Errorf("record: %s, %v", record, err)
	}
	if exists(filepath.Join(c.h1.stateDir(), "wireguard-next.key")) {
		t.Error("the next key is still beside the first")
	}
	c.speak(t)
	c.sawNothing(t)
}

// TestKeyIsRotatedThroughCrashes: agents that are killed while a key is being replaced go on with it.
func TestKeyIsRotatedThroughCrashes(t *testing.T) {
	t.Parallel()
	c := newConfidants(t)
	before, err := os.ReadFile(c.h1.keyFile())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.h1.Agent().RotateKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.h1.Agent().RotateKey(t.Context()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second time: %v", err)
	}
	eventually(t, "host2 knows", func() bool {
		return strings.Contains(c.h2.try("ip", "-o", "link"), fmt.Sprintf("fwwgs%d", c.network.VNI))
	})
	if _, err := c.h2.Agent().RotateKey(t.Context()); err == nil || !strings.Contains(err.Error(), "host host1 replaces its key") {
		t.Errorf("another host meanwhile: %v", err)
	}
	c.h1.kill(t)
	c.h1.start(t)
	c.h2.kill(t)
	c.h2.start(t)
	eventually(t, "the first device has the next key", func() bool {
		now, err := os.ReadFile(c.h1.keyFile())
		return err == nil && string(now) != string(before)
	})
	c.h1.kill(t)
	c.h3.kill(t)
	c.h1.start(t)
	c.h3.start(t)
	eventually(t, "it is over", func() bool {
		health, err := c.h1.Agent().Health(t.Context())
		return err == nil && health.Rotation == nil
	})
	c.speak(t)
	c.sawNothing(t)
}

// TestKeyIsRotatedWithoutThem: a host that does not follow is waited for, and not for ever. It has the new key when it is back.
func TestKeyIsRotatedWithoutThem(t *testing.T) {
	t.Parallel()
	c := newConfidants(t)
	c.h1.kill(t)
	c.h1.flags["rotate-within"] = "20s"
	c.h1.start(t)
	c.h3.kill(t)
	if _, err := c.h1.Agent().RotateKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it waits for host3 alone", func() bool {
		health, err := c.h1.Agent().Health(t.Context())
		return err == nil && health.Rotation != nil && fmt.Sprint(health.Rotation.Waiting) == "[host3]"
	})
	eventually(t, "it is over", func() bool {
		health, err := c.h1.Agent().Health(t.Context())
		return err == nil && health.Rotation == nil
	})
	c.h3.start(t)
	c.speak(t)
	c.sawNothing(t)
}

// TestKeysAreRotatedAtOnce: two hosts begin to replace their keys before either has heard of the other.
func TestKeysAreRotatedAtOnce(t *testing.T) {
	t.Parallel()
	c := newConfidants(t)
	s := c.stream(t)
	for _, h := range []*member{c.h1, c.h2} {
		if _, err := h.Agent().RotateKey(t.Context()); err != nil {
			t.Log(err) // it has heard of it
		}
	}
	for _, h := range []*member{c.h1, c.h2} {
		eventually(t, h.Name+" has done", func() bool {
			health, err := h.Agent().Health(t.Context())
			return err == nil && health.Rotation == nil
		})
	}
	s.lostNothing(t)
	c.explain(t)
	c.speak(t)
	c.sawNothing(t)
}
