package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// changing are the system calls by which an agent changes the kernel: netlink's, and those of TUN devices.
const changing = "sendto,sendmsg,ioctl"

// asking is what strace prints of a call that changes nothing: of requests of netlink, the numbers of those that get links, addresses, routes,
// neighbours, and what nftables has (linux/rtnetlink.h, linux/netfilter/nf_tables.h).
var asking = regexp.MustCompile(`nlmsg_type=(0x(12|16|1a|1e|a01|a04|a07|a0a|a0d|a10)\b|RTM_GET|NFNL_SUBSYS_NFTABLES<<8\|NFT_MSG_GET)|SIOCG|TUNGET|<unfinished|AF_UNIX`)

// killAt has an agent be killed after one of the calls by which it changes the kernel, all its threads counted together, and does something that
// makes it change it. Each call is drawn out, so that hardly another follows. An agent that makes fewer calls is killed afterwards, and hit is false.
func (h *member) killAt(t *testing.T, call int, then func()) (hit bool) {
	t.Helper()
	pid := h.agent.Pid()
	said, says, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	const drawn = 20_000 // microseconds
	cmd := exec.Command("strace", "-f", "-qq", "-o", "/proc/self/fd/3", "-p", fmt.Sprint(pid), "-e", "trace="+changing,
		"-e", fmt.Sprintf("inject=%s:delay_exit=%d", changing, drawn))
	cmd.ExtraFiles = []*os.File{says}
	tracer, err := testnet.Start(cmd)
	if err := errors.Join(err, says.Close()); err != nil {
		t.Fatal(err)
	}
	struck := make(chan bool, 1)
	go func() { struck <- killAfter(said, call, pid) }()
	status := fmt.Sprintf("/proc/%d/status", pid)
	eventually(t, "the agent is traced", func() bool {
		text, err := os.ReadFile(status)
		return err != nil || !strings.Contains(string(text), "TracerPid:\t0\n") // or killed already
	})
	then()
	if err := tracer.Stop(unix.SIGKILL); err != nil { // it lets go of an agent that runs
		t.Fatal(err)
	}
	hit = <-struck
	h.kill(t)
	return hit
}

// killAfter reads what strace prints, and kills a process after a number of calls that have changed something. There may be fewer.
func killAfter(said *os.File, call, pid int) (killed bool) {
	defer func() { _ = said.Close() }()
	for lines := bufio.NewReader(said); ; { // to the end, so that strace can go on
		line, err := lines.ReadString('\n')
		if err != nil {
			return killed
		}
		if strings.Contains(line, " = ") && !asking.MatchString(line) {
			if call--; call == 0 {
				killed = unix.Kill(pid, unix.SIGKILL) == nil
			}
		}
	}
}

// mostCalls bounds how many calls are tried: making and removing take fewer, which an agent that is not killed proves.
const mostCalls = 80

// killedInTurn has host1's agent be killed at its first call that changes the kernel while something is done, then at the second, and
// so on, until it makes fewer. After each it is looked at what is left, and the agent starts again.
func (c *confidants) killedInTurn(t *testing.T, do, look, again func()) {
	t.Helper()
	for call := 1; call <= mostCalls; call++ {
		hit := c.h1.killAt(t, call, do)
		look()
		c.h1.start(t)
		again()
		if !hit {
			t.Logf("killed at each of %d calls", call-1)
			if call <= 4 {
				t.Error("hardly a kill has struck: the test proves nothing")
			}
			return
		}
	}
	t.Errorf("%d calls are not all", mostCalls)
}

// TestEncryptedAgentKilledMending: somebody takes away what encrypts, and all rules with it, and the agent is killed at each object in turn
// while it makes them anew. What containers say all the while is not said in clear, and the next start makes it whole.
func TestEncryptedAgentKilledMending(t *testing.T) {
	t.Parallel()
	c := newConfidants(t)
	flows := steady(t, c.a, c.b)
	c.killedInTurn(t, func() {
		c.h1.Sh(t, "sh", "-c", "ip link del "+c.device()+"; nft flush ruleset")
		c.settles(t)
	}, func() {}, func() { goOn(t, flows) })
	for _, flow := range flows {
		_ = flow.Stop(0) // it has lost what it had to
	}
	c.speak(t)
	c.sawNothing(t)
}

// settles waits until host1 has all of the network, or no agent.
func (c *confidants) settles(t *testing.T) {
	t.Helper()
	status := fmt.Sprintf("/proc/%d/status", c.h1.agent.Pid())
	eventually(t, "the network is whole, or its agent was killed", func() bool {
		if _, err := os.Stat(status); err != nil {
			return true
		}
		return strings.Contains(c.h1.try("sh", "-c", "ip -o link show "+c.device()+" && ip route show "+c.b.addrs[0].String()), "UP") &&
			testnet.Speak(c.a.Namespace, c.b.Namespace, c.b.addrs[0], 100*time.Millisecond) == nil
	})
}

// TestEncryptedAgentKilledMaking: a host joins an encrypted network with its first container, and its agent is killed at each object in turn.
func TestEncryptedAgentKilledMaking(t *testing.T) {
	t.Parallel()
	c := newConfidants(t)
	n := 0
	anew := func() {
		c.unused(t)
		c.delete(t)
		c.nothingLeft(t)
		c.make(t)
	}
	anew()
	c.killedInTurn(t, func() {
		n++
		half := c.h1.newGuest(t, fmt.Sprint("half", n))
		_, _ = c.h1.cni(t, "add", "secret", half).CombinedOutput() // it fails where the agent was killed
		_, _ = c.h1.cni(t, "del", "secret", half).CombinedOutput()
	}, c.refusesWhatIsHalf(t), func() {
		c.confideAll(t, n)
		c.speak(t)
		anew()
	})
	c.sawNothing(t)
}

// TestEncryptedAgentKilledDeleting: a network is deleted, and an agent is killed at each object in turn. The next start removes the rest.
func TestEncryptedAgentKilledDeleting(t *testing.T) {
	t.Parallel()
	c := newConfidants(t)
	n := 0
	c.unused(t)
	c.killedInTurn(t, func() {
		c.delete(t)
		status := fmt.Sprintf("/proc/%d/status", c.h1.agent.Pid())
		eventually(t, "the host lets go of the network, or its agent was killed", func() bool {
			_, err := os.Stat(status)
			return err != nil || c.h1.traces() == ""
		})
	}, c.refusesWhatIsHalf(t), func() {
		n++
		c.nothingLeft(t)
		c.make(t)
		c.confideAll(t, n)
		c.speak(t)
		c.unused(t)
	})
	c.sawNothing(t)
}

// delete deletes the network. An agent may be about to write that its host has a container, and then that it has none any more.
func (c *confidants) delete(t *testing.T) {
	t.Helper()
	eventually(t, "the network is deleted", func() bool {
		err := c.h2.Agent().Delete(t.Context(), "secret")
		if err != nil && !errors.Is(err, agentapi.ErrInUse) {
			t.Fatal(err)
		}
		return err == nil
	})
}

// unused takes the containers from the network.
func (c *confidants) unused(t *testing.T) {
	t.Helper()
	for _, guest := range []confidant{c.a, c.b, c.d} {
		succeed(t, guest.on.cni(t, "del", "secret", guest.guest))
	}
	for _, h := range c.hosts {
		eventually(t, h.Name+" has no container", func() bool { return !inUseBy(t, c.h2, "secret", h.Name) })
	}
}

// confideAll has a container on each host again.
func (c *confidants) confideAll(t *testing.T, n int) {
	t.Helper()
	c.a, c.b, c.d = c.h1.confide(t, "secret", fmt.Sprint("a", n)), c.h2.confide(t, "secret", fmt.Sprint("b", n)), c.h3.confide(t, "secret", fmt.Sprint("d", n))
}

// nothingLeft waits until no host has anything of the network that was deleted.
func (c *confidants) nothingLeft(t *testing.T) {
	t.Helper()
	for _, h := range c.hosts {
		eventually(t, "nothing of it is left on "+h.Name, func() bool {
			return h.traces() == "" && !strings.Contains(h.try("sh", "-c", "nft list ruleset; ls /etc/cni/net.d"), "secret")
		})
	}
}

// refusesWhatIsHalf looks at what a killed agent has left: as long as anything leads to the network, what the host itself says there is
// refused. What refuses comes first and goes last. Something has to be left now and then.
func (c *confidants) refusesWhatIsHalf(t *testing.T) func() {
	half := 0
	t.Cleanup(func() {
		if half == 0 {
			t.Error("no kill has left anything: the test proves nothing")
		}
	})
	return func() {
		t.Helper()
		left := c.h1.traces()
		if left == "" {
			return
		}
		half++
		if !strings.Contains(left, "elements") {
			t.Errorf("nothing refuses what is said in clear, and there is\n%s", left)
		}
		for _, addr := range c.b.addrs {
			_ = testnet.Speak(c.h1.Namespace, c.b.Namespace, addr, 100*time.Millisecond)
		}
	}
}

// traces is what a host has of network secret: its device, routes, and the elements that name its subnets.
func (h *member) traces() string {
	return h.try("sh", "-c", `{ ip -o link show | grep fwwg; ip route; ip -6 route; } | grep -e fwwg -e '10\.60\.' -e fd60:
nft list ruleset | sed -n '/elements/,/}/p' | grep -e '10\.60\.' -e fd60: | sed 's/^/elements /'; true`)
}
