package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// repairs is how often an agent has found something to change in the kernel.
func repairs(h *member) int { return strings.Count(h.agent.Log(), "reconciling the kernel") }

// Without agents, traffic flows, ADD and DEL work. Agents that come back put right in one pass what differs, and touch
// nothing else.
func (p *pair) agentsKilled(t *testing.T) {
	h1, h3 := p.hosts[0], p.hosts[2]
	p.put(t, h1, overlayNet("brief", "10.43.0.0/16"))
	guest, _ := h3.add(t, "brief", "guest")
	eventually(t, "h1 knows that h3 has a container", func() bool { return inUseBy(t, h1, "brief", "host3") })
	link := fmt.Sprintf("fwvx%d", p.network.VNI)
	far := h3.address(t, "blue")
	flow(t, p.a.Namespace, p.b.Namespace, p.addrB, func() {
		p.kill(t)
		wantLimit(t, h1, "blue", "the node agent does not answer")
		for _, h := range p.hosts {
			comeAndGo(t, h, p.b, p.addrA)
		}
		succeed(t, h1.cni(t, "check", "blue", p.a))
		succeed(t, h3.cni(t, "del", "brief", guest))
		h1.Sh(t, "ip", "route", "del", routeTo(t, h1, link, far))
		h1.Sh(t, "ip", "neigh", "del", far, "dev", link)
		p.start(t)
		for i, want := range []int{1, 0, 0} {
			awaitHealthy(t, p.hosts[i])
			if got := repairs(p.hosts[i]); got != want {
				t.Errorf("%s found something to change %d times, want %d:\n%s", p.hosts[i].Name, got, want, p.hosts[i].agent.Log())
			}
		}
		ping(t, p.a.Path, far)
		succeed(t, h1.cni(t, "check", "blue", p.a))
		succeed(t, h1.cni(t, "status", "blue", p.a))
	})
	eventually(t, "the agents have caught up with DEL", func() bool { return !inUseBy(t, h1, "brief", "host3") })
	if err := h1.Agent().Delete(t.Context(), "brief"); err != nil {
		t.Error(err)
	}
}

// Without etcd, traffic flows, ADD and DEL work, the kernel is repaired, and an agent starts.
func (p *pair) etcdStopped(t *testing.T) {
	h1, h2, h3 := p.hosts[0], p.hosts[1], p.hosts[2]
	link := fmt.Sprintf("fwvx%d", p.network.VNI)
	flow(t, p.a.Namespace, p.b.Namespace, p.addrB, func() {
		minute := time.After(time.Minute)
		for i := range 3 {
			if err := p.etcd.Kill(i); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "h1 says that etcd is away", func() bool {
			health, err := h1.Agent().Health(t.Context())
			return err == nil && !health.Etcd.Connected && !health.Healthy && strings.Contains(strings.Join(health.Problems, "\n"), "etcd: ")
		})
		wantLimit(t, h1, "blue", "no connection to etcd")
		h2.kill(t) // it starts from its snapshot
		h2.start(t)
		if all, err := h2.Agent().Networks(t.Context()); err != nil || len(all) == 0 {
			t.Errorf("networks of an agent that was started without etcd: %v, %v", all, err)
		}
		h3.Sh(t, "ip", "link", "del", link)
		p.awaitPeers(t, h3, p.network, 2)
		for over := false; !over; {
			for _, h := range p.hosts {
				comeAndGo(t, h, p.b, p.addrA)
			}
			succeed(t, h1.cni(t, "check", "blue", p.a))
			select {
			case <-minute:
				over = true
			case <-time.After(5 * time.Second): // other tests run meanwhile
			}
		}
		if err := p.etcd.Restart(0, 1, 2); err != nil {
			t.Fatal(err)
		}
		for _, h := range p.hosts {
			awaitHealthy(t, h)
		}
		succeed(t, h1.cni(t, "status", "blue", p.a))
	})
	p.put(t, h2, overlayNet("after-the-outage", "10.44.0.0/16"))
}

// While etcd elects another leader, and with a member less, everything works.
func (p *pair) leaderKilled(t *testing.T) {
	flow(t, p.a.Namespace, p.b.Namespace, p.addrB, func() {
		leader := p.leader(t)
		if err := p.etcd.Kill(leader); err != nil {
			t.Fatal(err)
		}
		for _, h := range p.hosts {
			comeAndGo(t, h, p.b, p.addrA)
		}
		p.put(t, p.hosts[1], overlayNet("one-member-less", "10.45.0.0/16"))
		for _, h := range p.hosts {
			awaitHealthy(t, h)
		}
		if err := p.etcd.Restart(leader); err != nil {
			t.Fatal(err)
		}
	})
}

// leader is the index of the etcd member that leads.
func (c *cluster) leader(t *testing.T) int {
	t.Helper()
	for i := range c.etcd.Endpoints() {
		out, err := c.etcd.Ctl(i, "endpoint", "status", "--write-out=json")
		if err != nil {
			t.Fatal(err)
		}
		var members []struct {
			Status struct {
				Header struct {
					MemberID uint64 `json:"member_id"`
				} `json:"header"`
				Leader uint64 `json:"leader"`
			}
		}
		if err := json.Unmarshal([]byte(out), &members); err != nil || len(members) != 1 {
			t.Fatalf("status of a member: %v: %s", err, out)
		}
		if s := members[0].Status; s.Leader == s.Header.MemberID {
			return i
		}
	}
	t.Fatal("no member leads")
	return 0
}

// A reboot takes away the kernel's state, /run and the containers; MAC and blocks stay, and what the containers had is free.
func (p *pair) rebooted(t *testing.T, old string) {
	h := p.hosts[2]
	link := fmt.Sprintf("fwvx%d", p.network.VNI)
	block, mac := h.address(t, "blue"), macOf(h.Sh(t, "ip", "link", "show", link))
	reserved := func() bool { return exists(filepath.Join(h.dataDir(), "blue", old)) }
	if !reserved() || !inUseBy(t, h, "blue", "host3") {
		t.Fatal("the container's address is not known before")
	}
	h.kill(t)
	if err := h.Reboot(); err != nil {
		t.Fatal(err)
	}
	h.start(t)
	eventually(t, "the device is back", func() bool { return h.try("ip", "link", "show", link) != "" })
	if got := macOf(h.Sh(t, "ip", "link", "show", link)); got != mac {
		t.Errorf("its device has MAC %s, and had %s before", got, mac)
	}
	if reserved() {
		t.Error("an address of the earlier boot is still reserved")
	}
	eventually(t, "its containers are gone from etcd", func() bool { return !inUseBy(t, p.hosts[0], "blue", "host3") })
	if got := h.address(t, "blue"); got != block {
		t.Errorf("its block begins with %s, and with %s before", got, block)
	}
	awaitHealthy(t, h)
	comeAndGo(t, h, p.b, p.addrA)
}
