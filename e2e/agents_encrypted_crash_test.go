package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// changing are the system calls by which an agent changes the kernel: netlink's, and those of TUN devices.
const changing = "sendto,sendmsg,ioctl"

// killAt has an agent be killed at one of the next calls of its threads that change the kernel, and does something that makes it change it.
// An agent that makes fewer calls is killed afterwards, and hit is false.
func (h *member) killAt(t *testing.T, call int, then func()) (hit bool) {
	t.Helper()
	status := fmt.Sprintf("/proc/%d/status", h.agent.Pid())
	tracer, err := testnet.Start(exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "-p", fmt.Sprint(h.agent.Pid()),
		"-e", "trace="+changing, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", changing, call)))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the agent is traced", func() bool {
		text, err := os.ReadFile(status)
		return err != nil || !strings.Contains(string(text), "TracerPid:\t0\n") // or killed already
	})
	then()
	_, err = os.Stat(status)
	hit = err != nil
	h.kill(t)
	if err := tracer.Stop(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	return hit
}

// TestEncryptedAgentKilledAtEachObject: an agent is killed while it makes what an encrypted network is on its host, and while it removes it,
// at some call or other each time. Nothing is said in clear, the next start makes it whole, and of a network that was deleted nothing is left.
func TestEncryptedAgentKilledAtEachObject(t *testing.T) {
	t.Parallel()
	c := newConfidants(t)
	hits := 0
	for round := range 4 {
		call := 1 + rand.IntN(6)
		succeed(t, c.h1.cni(t, "del", "secret", c.a.guest))
		c.h1.Sh(t, "ip", "link", "del", c.device()) // and all that leads through it
		hit := c.h1.killAt(t, call, func() {
			made := c.h1.newGuest(t, fmt.Sprint("half", round))
			_, _ = c.h1.cni(t, "add", "secret", made).CombinedOutput()
			_ = testnet.Speak(made.Namespace, c.b.Namespace, c.b.addrs[0], 500*time.Millisecond)
			_ = testnet.Speak(c.b.Namespace, made.Namespace, c.a.addrs[0], 500*time.Millisecond)
			_, _ = c.h1.cni(t, "del", "secret", made).CombinedOutput()
		})
		t.Logf("killed at call %d while it makes: %t", call, hit)
		if hit {
			hits++
		}
		c.h1.start(t)
		c.a = c.h1.confide(t, "secret", fmt.Sprint("whole", round))
		c.speak(t)
	}
	for round := range 3 {
		call := 1 + rand.IntN(6)
		for _, guest := range []confidant{c.a, c.b, c.d} {
			succeed(t, guest.on.cni(t, "del", "secret", guest.guest))
		}
		eventually(t, "the network is deleted", func() bool {
			gone := false
			hit := c.h1.killAt(t, call, func() { gone = c.h2.Agent().Delete(t.Context(), "secret") == nil })
			t.Logf("killed at call %d while it removes: %t", call, hit)
			if hit {
				hits++
			}
			c.h1.start(t)
			return gone
		})
		for _, h := range c.hosts {
			eventually(t, "nothing of it is left on "+h.Name, func() bool {
				left := h.try("sh", "-c", "ip -o link; ip route; ip -6 route; nft list ruleset; ls /etc/cni/net.d")
				return left != "" && !strings.Contains(left, "fwwg") && !strings.Contains(left, "10.60.") && !strings.Contains(left, "fd60:") && !strings.Contains(left, "secret")
			})
		}
		c.make(t)
		c.a, c.b, c.d = c.h1.confide(t, "secret", fmt.Sprint("a", round)), c.h2.confide(t, "secret", fmt.Sprint("b", round)), c.h3.confide(t, "secret", fmt.Sprint("d", round))
		c.speak(t)
	}
	if hits == 0 {
		t.Error("no kill has struck: the test proves nothing")
	}
	c.sawNothing(t)
}
