package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// duo is two hosts with a container each on network blue.
type duo struct {
	*cluster
	h1, h2       *member
	a, b         guest
	addrA, addrB string
}

func newDuo(t *testing.T) *duo {
	t.Helper()
	d := &duo{cluster: newCluster(t, 2, 1)}
	d.h1, d.h2 = d.hosts[0], d.hosts[1]
	d.start(t)
	d.put(t, d.h1, overlayNet("blue", "10.42.0.0/16"))
	d.a, d.addrA = d.h1.add(t, "blue", "a")
	d.b, d.addrB = d.h2.add(t, "blue", "b")
	return d
}

// setAlarm raises etcd's alarm that its space is exhausted, as a member does itself.
func (d *duo) setAlarm(t *testing.T) {
	t.Helper()
	out, err := d.etcd.Ctl(0, "endpoint", "status", "--write-out=json")
	if err != nil {
		t.Fatal(err)
	}
	var members []struct {
		Status struct {
			Header struct {
				Member json.Number `json:"member_id"`
			} `json:"header"`
		} `json:"Status"`
	}
	if err := json.Unmarshal([]byte(out), &members); err != nil || len(members) != 1 {
		t.Fatalf("status: %v: %s", err, out)
	}
	body := fmt.Sprintf(`{"action": "ACTIVATE", "memberID": "%s", "alarm": "NOSPACE"}`, members[0].Status.Header.Member)
	d.h1.Sh(t, "curl", "-sSf", "-d", body, d.etcd.Endpoints()[0]+"/v3/maintenance/alarm")
}

// Without space, etcd answers and takes nothing. Traffic flows, containers come and go, also with an agent that is started by then, and
// health says so. Nobody loses a block, whatever the time.
func TestStoreWithoutSpace(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	blocks := d.h1.address(t, "blue") + d.h2.address(t, "blue")
	flow(t, d.a.Namespace, d.b.Namespace, d.addrB, func() {
		d.setAlarm(t)
		d.h1.kill(t)
		eventually(t, "the heartbeat of h1 is over", func() bool {
			out, err := d.etcd.Ctl(0, "get", "--keys-only", "/fairway/v1/alive/host1")
			return err == nil && !strings.Contains(out, "host1")
		})
		d.h1.start(t)
		eventually(t, "h1 says that etcd has no space", func() bool { return says(t, d.h1, "space") })
		wantLimit(t, d.h1, "blue", "space")
		comeAndGo(t, d.h1, d.b, d.addrB)
		comeAndGo(t, d.h2, d.a, d.addrA)
		if _, err := d.h2.Agent().Put(t.Context(), overlayNet("green", "10.43.0.0/16")); err == nil || !strings.Contains(err.Error(), "space") {
			t.Errorf("a network is made without space: %v", err)
		}
		if _, err := d.etcd.Ctl(0, "alarm", "disarm"); err != nil {
			t.Fatal(err)
		}
		awaitHealthy(t, d.h1)
	})
	d.put(t, d.h2, overlayNet("green", "10.43.0.0/16"))
	if got := d.h1.address(t, "blue") + d.h2.address(t, "blue"); got != blocks {
		t.Errorf("blocks begin with %s, and with %s before", got, blocks)
	}
}

// A connection to etcd that comes and goes costs no packet, no repair, and nothing that grows.
func TestFlappingConnection(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	descriptors := func() int {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.h2.agent.Pid()))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before, made := descriptors(), repairs(d.h1)
	flow(t, d.a.Namespace, d.b.Namespace, d.addrB, func() {
		for i := range 8 {
			d.h2.Sh(t, "ip", "route", "add", "blackhole", "192.0.2.1")
			d.h2.Sh(t, "ss", "-K", "dst", "192.0.2.1")
			if i%4 == 0 {
				eventually(t, "h2 is cut off", func() bool { return says(t, d.h2, "etcd: ") })
			}
			if i%4 == 1 {
				if _, err := d.h1.Agent().Put(t.Context(), overlayNet(fmt.Sprint("new", i), fmt.Sprintf("10.%d.0.0/16", 60+i))); err != nil {
					t.Fatal(err)
				}
			}
			d.h2.Sh(t, "ip", "route", "del", "blackhole", "192.0.2.1")
		}
		awaitHealthy(t, d.h2)
		comeAndGo(t, d.h2, d.a, d.addrA)
	})
	for i := range 8 {
		if i%4 == 1 {
			eventually(t, "h2 has what was made meanwhile", func() bool { return exists(d.h2.conflist(fmt.Sprint("new", i))) })
		}
	}
	eventually(t, "no descriptor is left", func() bool { return descriptors() <= before+4 }) // the members' connections
	if got := repairs(d.h1) - made; got > 0 {
		t.Errorf("h1 has repaired %d times what nobody has changed", got)
	}
}

// A state directory that cannot be written keeps nobody from the kernel: who moves is followed, and health names the directory.
func TestStateDirectoryThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, 1)
	h1, h2, h3 := c.hosts[0], c.hosts[1], c.hosts[2]
	const dir = "/var/lib/fairway"
	h2.Sh(t, "mkdir", "-p", dir)
	h2.Sh(t, "mount", "-t", "tmpfs", "-o", "size=256k", "state", dir)
	t.Cleanup(func() { h2.try("umount", "-l", dir) })
	c.start(t)
	blue := c.put(t, h1, overlayNet("blue", "10.42.0.0/16"))
	link := fmt.Sprintf("fwvx%d", blue.VNI)
	a, _ := h2.add(t, "blue", "a")
	b, addrB := h1.add(t, "blue", "b")
	for i, test := range []struct{ name, spoil, mend string }{
		{"full", "dd if=/dev/zero of=" + dir + "/filler bs=4k 2>/dev/null || true", "rm " + dir + "/filler"},
		{"read-only", "mount -o remount,ro " + dir, "mount -o remount,rw " + dir},
	} {
		flow(t, a.Namespace, b.Namespace, addrB, func() {
			h2.Sh(t, "sh", "-c", test.spoil)
			to := netip.AddrFrom4([4]byte{192, 0, 2, byte(40 + i)})
			if err := h3.Readdress(to, netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", 40+i))); err != nil {
				t.Fatal(err)
			}
			eventually(t, "h2 follows h3 with a directory that is "+test.name, func() bool {
				return strings.Contains(h2.try("bridge", "fdb", "show", "dev", link), "dst "+to.String())
			})
			eventually(t, "h2 says so", func() bool { return says(t, h2, "state-dir") || says(t, h2, "snapshot") })
			h2.ping(t, h3.address(t, "blue"))
			guest, _ := h2.add(t, "blue", fmt.Sprint("while", i)) // of a block that it has
			succeed(t, h2.cni(t, "del", "blue", guest))
			h2.Sh(t, "sh", "-c", test.mend)
			awaitHealthy(t, h2)
		})
	}
}

// A copy of a host on another machine, with its state directory and its name, uses nothing of the host's, whether or not it reaches
// etcd; under a name of its own it is a new host.
func TestCopiedHost(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, 1)
	h1, h2 := c.hosts[0], c.hosts[1]
	for i, h := range c.hosts {
		id := h.File("/etc/machine-id")
		if err := os.WriteFile(id, fmt.Appendf(nil, "%032d\n", i+1), 0o444); err != nil {
			t.Fatal(err)
		}
	}
	h1.start(t)
	c.hosts = c.hosts[:1]
	c.put(t, h1, overlayNet("blue", "10.42.0.0/16"))
	h1.add(t, "blue", "a")
	if err := os.CopyFS(h2.stateDir(), os.DirFS(h1.stateDir())); err != nil {
		t.Fatal(err)
	}
	h2.flags["node"] = h1.Name
	h2.Sh(t, "ip", "route", "add", "blackhole", "192.0.2.1")
	h2.start(t)
	nothing := func(when string) {
		t.Helper()
		if exists(h2.conflist("blue")) {
			t.Errorf("%s, the copy offers the network by what the host had", when)
		}
		if files, err := filepath.Glob(filepath.Join(h2.stateDir(), "networks", "*")); err != nil || len(files) > 0 {
			t.Errorf("%s, the copy has snapshots: %v, %v", when, files, err)
		}
		health, err := h2.Agent().Health(t.Context())
		if err != nil || !strings.Contains(strings.Join(health.Events, "\n"), "another machine's") {
			t.Errorf("%s, health does not say that it is a copy: %+v, %v", when, health, err)
		}
	}
	nothing("without etcd")
	h2.Sh(t, "ip", "route", "del", "blackhole", "192.0.2.1")
	eventually(t, "the copy says that the name is in use", func() bool { return says(t, h2, "by another machine") })
	nothing("with etcd")
	awaitHealthy(t, h1)

	h2.kill(t)
	delete(h2.flags, "node")
	h2.start(t)
	h2.join(t, "blue")
	if one, other := h1.address(t, "blue"), h2.address(t, "blue"); one == other {
		t.Errorf("both have a block at %s", one)
	}
	h2.ping(t, h1.address(t, "blue"))
}

// A copy of a host with its name and its machine ID, while the host's agent is stopped and its containers run: it gives out no address before
// it reaches etcd, and finds out then that the host is there. When that is off, the copy has its place, and the host is refused when it is back.
func TestCopiedHostBesideASilentOne(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, 1)
	h1, h2, h3 := c.hosts[0], c.hosts[1], c.hosts[2]
	c.hosts = c.hosts[:2]
	for _, h := range c.hosts {
		h.start(t)
	}
	c.put(t, h1, overlayNet("blue", "10.42.0.0/16"))
	a, addrA := h1.add(t, "blue", "a")
	b, addrB := h2.add(t, "blue", "b")
	block := h2.address(t, "blue")
	h2.kill(t)
	for _, dir := range []struct{ to, from string }{{h3.stateDir(), h2.stateDir()}, {filepath.Dir(h3.conflist("blue")), filepath.Dir(h2.conflist("blue"))}} {
		if err := os.CopyFS(dir.to, os.DirFS(dir.from)); err != nil {
			t.Fatal(err)
		}
	}
	h3.flags["node"] = h2.Name
	refused := func(h *member, when, why string) {
		t.Helper()
		if code, said := h.refuse(t, "ADD", "blue", h.newGuest(t, strings.ReplaceAll(when, " ", "-"))); code != 11 || !strings.Contains(said, why) {
			t.Errorf("%s: ADD said %d %s", when, code, said)
		}
	}
	h3.Sh(t, "ip", "route", "add", "blackhole", "192.0.2.1")
	h3.start(t)
	refused(h3, "copy without etcd", "may be a copy")
	h3.Sh(t, "ip", "route", "del", "blackhole", "192.0.2.1")
	eventually(t, "the copy says that the host is there", func() bool { return says(t, h3, "by the machine at 192.0.2.12") })
	refused(h3, "copy beside the host", "may be a copy")
	ping(t, a.Path, addrB)
	ping(t, b.Path, addrA)

	link := strings.Fields(h2.Sh(t, "ip", "-o", "addr", "show", "to", "192.0.2.12"))[1]
	h2.Sh(t, "ip", "link", "set", link, "down")
	awaitHealthy(t, h3)
	h3.add(t, "blue", "c")
	if now := h3.address(t, "blue"); now != block {
		t.Errorf("the copy has the block at %s, the host had that at %s", now, block)
	}
	h2.Sh(t, "ip", "link", "set", link, "up")
	h2.start(t)
	eventually(t, "the host says that it is a copy", func() bool { return says(t, h2, "by another machine that is alive") })
	refused(h2, "host that is back", "another machine")
}

// A cluster of the release before is taken over host by host without a lost packet: its keys and files are as that left them.
func TestFormerCluster(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	created := strings.TrimSpace(d.h1.Sh(t, "cat", "/proc/sys/kernel/random/boot_id"))
	blocks := d.h1.address(t, "blue") + d.h2.address(t, "blue")
	flow(t, d.a.Namespace, d.b.Namespace, d.addrB, func() {
		d.kill(t)
		d.makeFormer(t, created)
		d.h1.start(t) // beside h2, of which the former agent goes on
		awaitHealthy(t, d.h1)
		const root = "/fairway/v1/"
		record, err := d.etcd.Ctl(0, "get", "--print-value-only", root+"net/blue/nodes/host1")
		if err != nil || !strings.Contains(record, `"vtep":"192.0.2.11"`) || !strings.Contains(record, `"bootID"`) {
			t.Errorf("a former release cannot read where host1 is: %q, %v", record, err)
		}
		comeAndGo(t, d.h1, d.b, d.addrB)
		d.h2.start(t)
		awaitHealthy(t, d.h2)
		comeAndGo(t, d.h2, d.a, d.addrA)
		for _, h := range d.hosts {
			if got := repairs(h); got > 0 {
				t.Errorf("%s has found something to repair:\n%s", h.Name, h.agent.Log())
			}
		}
	})
	if got := d.h1.address(t, "blue") + d.h2.address(t, "blue"); got != blocks {
		t.Errorf("blocks begin with %s, and with %s before", got, blocks)
	}
}

// makeFormer makes keys and files those of the former release: no record of the cluster or of hosts, an address in each membership, one
// document of a network on disk, and nothing about the host.
func (d *duo) makeFormer(t *testing.T, boot string) {
	t.Helper()
	const root = "/fairway/v1/"
	ctl := func(args ...string) string {
		t.Helper()
		out, err := d.etcd.Ctl(0, args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, key := range []string{"cluster", "nodes/", "marks/", "alive/", "keeper", "settling"} {
		ctl("del", "--prefix", root+key)
	}
	for i, h := range d.hosts {
		ctl("put", root+"net/blue/nodes/"+h.Name, fmt.Sprintf(`{"vtep":"192.0.2.%d","bootID":"%s"}`, 11+i, boot))
		full, err := os.ReadFile(filepath.Join(h.stateDir(), "hosts", "blue.json"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"hosts", "host.json", "confirmed.json"} {
			if err := os.RemoveAll(filepath.Join(h.stateDir(), name)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.MkdirAll(filepath.Join(h.stateDir(), "networks"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(h.stateDir(), "networks", "blue.json"), full, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lease := strings.Fields(ctl("lease", "grant", "30"))[1]
	ctl("put", "--lease="+lease, root+"alive/host2", boot)
}

// A host that etcd has not seen for three quarters of the hold gives out no addresses, as others may have its block by then; its containers
// reach the others. When it is back, it goes on with the block that it still has.
func TestHostThatWasAwayForLong(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, 1)
	for _, h := range c.hosts {
		h.flags["reclaim-after"] = "1m"
	}
	c.start(t)
	h1, h2 := c.hosts[0], c.hosts[1]
	c.put(t, h1, overlayNet("blue", "10.42.0.0/16"))
	a, addrA := h1.add(t, "blue", "a")
	b, addrB := h2.add(t, "blue", "b")
	block := h1.address(t, "blue")
	attach := func(name string) (said string, ok bool) {
		ns := h1.newGuest(t, name)
		_, said, err := run(h1.cni(t, "add", "blue", ns))
		if err == nil {
			ping(t, ns.Path, addrB)
		}
		succeed(t, h1.cni(t, "del", "blue", ns))
		return said, err == nil
	}
	tries := 0
	flow(t, a.Namespace, b.Namespace, addrB, func() {
		h1.Sh(t, "ip", "route", "add", "blackhole", "192.0.2.1")
		h1.Sh(t, "ss", "-K", "dst", "192.0.2.1")
		eventually(t, "h1 gives out no addresses", func() bool {
			tries++
			said, ok := attach(fmt.Sprint("away", tries))
			return !ok && strings.Contains(said, "not seen in etcd")
		})
		h1.Sh(t, "ip", "route", "del", "blackhole", "192.0.2.1")
		eventually(t, "h1 gives out addresses again", func() bool {
			tries++
			_, ok := attach(fmt.Sprint("back", tries))
			return ok
		})
	})
	awaitHealthy(t, h1)
	if now := h1.address(t, "blue"); now != block {
		t.Errorf("the block of h1 begins with %s, and with %s before", now, block)
	}
	ping(t, b.Path, addrA)
}
