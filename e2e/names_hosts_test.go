package e2e

import (
	"strings"
	"testing"
)

// lampHosts is the lamp over three hosts: a container of each on its own.
type lampHosts struct {
	*cluster
	t       *testing.T // with which containers end
	musl    string
	inside  map[string]*insider
	address map[string]string
}

// run runs a container on a host.
func (l *lampHosts) run(t *testing.T, h *member, network, alias string) {
	t.Helper()
	l.inside[alias] = enter(l.t, h.fairway(t, "run", "--network", network, "--network-alias", alias, "sh", "-c", insiderLoop))
	l.address[alias] = l.inside[alias].do(t, "ip -4 -o address show dev eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/'")
}

// awaitName waits until a container finds a name, or not.
func (l *lampHosts) awaitName(t *testing.T, by, name, address string) {
	t.Helper()
	var got string
	eventually(t, by+" is told that "+name+" is at "+address, func() bool {
		got = l.inside[by].do(t, "dig +short "+name)
		return got == address
	})
}

// wantLamp expects that all find all, by each libc and by DNS itself.
func (l *lampHosts) wantLamp(t *testing.T, when string) {
	t.Helper()
	lamp := []string{"apache", "php", "mysql"}
	for _, by := range lamp {
		for _, name := range lamp {
			l.inside[by].wantName(t, l.musl, name, l.address[name])
			l.inside[by].wantName(t, l.musl, name+".lamp", l.address[name])
		}
	}
	if t.Failed() {
		t.Fatal(when)
	}
}

// TestLampOverThreeHosts: containers of an overlay network find each other by name on all hosts that have one, and nobody else does.
func TestLampOverThreeHosts(t *testing.T) {
	c := newCluster(t, 3, 1)
	for _, h := range c.hosts {
		h.flags["alive-ttl"] = "20s" // a busy machine has time to renew it after an outage
	}
	c.start(t)
	h1, h2, h3 := c.hosts[0], c.hosts[1], c.hosts[2]
	succeed(t, h1.fairway(t, "create", "-d", "overlay", "-o", "hostGateway=true", "--subnet", "10.42.0.0/16", "lamp"))
	succeed(t, h1.fairway(t, "create", "-d", "overlay", "--subnet", "10.43.0.0/16", "other"))
	for _, h := range c.hosts {
		eventually(t, h.Name+" has the networks", func() bool { return exists(h.conflist("lamp")) && exists(h.conflist("other")) })
	}
	l := lampHosts{c, t, muslLookup(t), map[string]*insider{}, map[string]string{}}
	l.run(t, h1, "lamp", "apache")
	l.run(t, h2, "lamp", "php")
	l.run(t, h3, "lamp", "mysql")
	l.run(t, h2, "other", "fourth")
	for _, by := range []string{"apache", "php", "mysql"} {
		for _, name := range []string{"apache", "php", "mysql"} {
			l.awaitName(t, by, name, l.address[name])
		}
	}
	l.wantLamp(t, "started")
	if got := l.inside["fourth"].do(t, "dig +short apache.lamp; getent hosts mysql"); got != "" {
		t.Errorf("a container of another network is told %q", got)
	}
	for name, h := range map[string]*member{"apache": h1, "php": h2, "mysql": h3} {
		if got, want := l.inside[name].do(t, "dig +short host.docker.internal"), h.address(t, "lamp"); got != want {
			t.Errorf("%s finds its host at %q, want %s", name, got, want)
		}
	}
	if got := l.inside["apache"].do(t, "dig +short -x "+l.address["mysql"]); !strings.HasSuffix(got, ".lamp.") {
		t.Errorf("name of an address on another host: %q", got)
	}
	if got := succeed(t, h1.fairway(t, "resolve", "mysql", "--network", "lamp")); got != l.address["mysql"]+"\n" {
		t.Errorf("fairway resolve: %q", got)
	}
	if got := fail(t, h2.fairway(t, "resolve", "mysql", "--network", "other")); !strings.Contains(got, "network other has no container mysql") {
		t.Errorf("fairway resolve on another network: %q", got)
	}
	for _, h := range c.hosts {
		if got := succeed(t, h.fairway(t, "doctor", "--check", "names")); !strings.HasPrefix(got, "ok ") {
			t.Errorf("fairway doctor on %s: %s", h.Name, got)
		}
	}
	t.Run("resolvers killed", l.resolversKilled)
	t.Run("etcd stopped", l.etcdStopped)
	t.Run("moved", l.moved)
	t.Run("host dead", l.hostDead)
	for _, g := range l.inside {
		g.end(t)
	}
}

// resolversKilled: agents that are started again take over what there is.
func (l *lampHosts) resolversKilled(t *testing.T) {
	for _, h := range l.hosts {
		h.kill(t)
		h.start(t)
	}
	for _, by := range []string{"apache", "php", "mysql"} {
		for _, name := range []string{"apache", "php", "mysql"} {
			l.awaitName(t, by, name, l.address[name])
		}
	}
	l.wantLamp(t, "after the agents were killed")
}

// etcdStopped: without etcd, names that are known stay.
func (l *lampHosts) etcdStopped(t *testing.T) {
	if err := l.etcd.Kill(0); err != nil {
		t.Fatal(err)
	}
	l.wantLamp(t, "without etcd")
	if err := l.etcd.Restart(0); err != nil {
		t.Fatal(err)
	}
	l.wantLamp(t, "with etcd again")
}

// moved: a name is where its container is.
func (l *lampHosts) moved(t *testing.T) {
	before := l.address["apache"]
	l.inside["apache"].end(t)
	l.awaitName(t, "mysql", "apache", "")
	l.run(t, l.hosts[1], "lamp", "apache")
	if l.address["apache"] == before {
		t.Errorf("a container of another host has the same address: %s", before)
	}
	l.awaitName(t, "mysql", "apache", l.address["apache"])
	l.awaitName(t, "php", "apache", l.address["apache"])
}

// hostDead: names of a dead host go with its heartbeat, and the way to its containers stays.
func (l *lampHosts) hostDead(t *testing.T) {
	h3 := l.hosts[2]
	h3.kill(t)
	l.awaitName(t, "php", "mysql", "")
	if got := l.inside["php"].do(t, "busybox ping -c1 -W5 "+l.address["mysql"]+" >/dev/null && echo there"); got != "there" {
		t.Error("a container of a host without an agent is not reached")
	}
	h3.start(t)
	l.awaitName(t, "php", "mysql", l.address["mysql"])
	l.wantLamp(t, "with all hosts again")
}
