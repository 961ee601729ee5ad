package agent

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairway-cni/fairway/pkg/names"
	"github.com/fairway-cni/fairway/pkg/registry"
)

// namedWorld is hosts with agents, and network blue.
func namedWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, 1)
	for _, h := range w.hosts {
		h.up()
		t.Cleanup(h.down)
	}
	time.Sleep(time.Second)
	if _, err := registry.New(w.etcd.Client(77)).Create(context.Background(), simNetwork("blue")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	return w
}

// start starts a container in blue, and gives its name.
func start(t *testing.T, h *simHost) (name string, addr netip.Addr) {
	t.Helper()
	addr, ok := h.add("blue")
	if !ok {
		t.Fatalf("%s: no address", h.node)
	}
	return h.called[fileOf("blue", addr)].Names[0], addr
}

// wantName expects where a name leads on a host; nowhere without addresses.
func wantName(t *testing.T, when string, h *simHost, name string, addrs ...netip.Addr) {
	t.Helper()
	synctest.Wait()
	if got, _ := h.index.LookupIn("blue", name); !slices.Equal(got, addrs) {
		t.Errorf("%s: %s: %s is at %v, want %v", when, h.node, name, got, addrs)
	}
}

func TestNamesOfOtherHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := namedWorld(t)
		a, b, outside := w.hosts[0], w.hosts[1], w.hosts[2]
		start(t, b) // which makes it a member
		time.Sleep(time.Second)
		web, addr := start(t, a)
		time.Sleep(100 * time.Millisecond)
		wantName(t, "after ADD", b, web, addr)
		wantName(t, "without a container on the network", outside, web)
		start(t, outside)
		time.Sleep(100 * time.Millisecond)
		wantName(t, "with one", outside, web, addr)
		for _, key := range []string{"blue/host0/x", "x.json"} {
			if _, ok := b.index.Record(key); ok {
				t.Errorf("record under %s", key)
			}
		}

		// It moves with its container.
		record := a.called[fileOf("blue", addr)]
		a.del("blue", addr)
		next, ok := b.add("blue")
		if !ok {
			t.Fatal("no address")
		}
		record.Addresses = []netip.Addr{next}
		b.index.Set(fileOf("blue", next), record)
		time.Sleep(100 * time.Millisecond)
		wantName(t, "moved", outside, web, next)
		wantName(t, "moved", a, web, next)
	})
}

// An agent that stops in order, or is upgraded, leaves its containers their names. Those of a dead host go when its heartbeat
// does, and the way to its containers stays.
func TestNamesGoWithTheHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := namedWorld(t)
		a, b := w.hosts[0], w.hosts[1]
		start(t, b)
		web, addr := start(t, a)
		time.Sleep(time.Second)
		for range 3 {
			a.stop() // its end is heard
			time.Sleep(simTTL / 2)
			wantName(t, "agent stopped", b, web, addr)
			a.up()
			time.Sleep(simTTL / 2)
			wantName(t, "agent started", b, web, addr)
		}
		time.Sleep(2 * simTTL)
		wantName(t, "of an agent that runs again", b, web, addr)
		a.down()
		time.Sleep(simTTL / 2)
		wantName(t, "killed a moment ago", b, web, addr)
		time.Sleep(simTTL)
		wantName(t, "dead", b, web)
		if len(b.programmed["blue"].hosts.Peers) != 2 {
			t.Errorf("the way to a host whose heartbeat has ended: %+v", b.programmed["blue"].hosts.Peers)
		}
		a.up()
		time.Sleep(time.Second)
		wantName(t, "back", b, web, addr)
	})
}

// A store that is lost, or is away, takes no name away while hosts are there that can tell it again.
func TestNamesOutliveTheStore(t *testing.T) {
	for what, happens := range map[string]func(w *world){
		"down":     func(w *world) { w.etcd.SetDown(true); time.Sleep(3 * simTTL); w.etcd.SetDown(false) },
		"emptied":  func(w *world) { w.etcd.Wipe() },
		"restored": func(w *world) { w.etcd.Restore(*w.backup) },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := namedWorld(t)
				backup := w.etcd.Backup()
				w.backup = &backup
				a, b := w.hosts[0], w.hosts[1]
				start(t, b)
				web, addr := start(t, a)
				time.Sleep(time.Second)
				happens(w)
				for range 600 {
					wantName(t, what, b, web, addr)
					if time.Sleep(time.Second); t.Failed() {
						return
					}
				}
				a.del("blue", addr)
				time.Sleep(time.Second)
				wantName(t, "removed", b, web)
			})
		})
	}
}

// An agent that starts while etcd is away answers what it last knew, and once etcd is there again, what holds.
func TestNamesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := namedWorld(t)
		a, b := w.hosts[0], w.hosts[1]
		start(t, b)
		web, addr := start(t, a)
		gone, last := start(t, a)
		time.Sleep(time.Second)
		for _, end := range []func(){b.stop, func() { time.Sleep(2 * keepNamesAfter); b.down() }} {
			end()
			w.etcd.SetDown(true)
			b.up()
			time.Sleep(time.Second)
			wantName(t, "started without etcd", b, web, addr)
			wantName(t, "started without etcd", b, gone, last)
			w.etcd.SetDown(false)
			time.Sleep(simTTL)
			wantName(t, "etcd is back", b, web, addr)
		}
		b.down()
		a.del("blue", last)
		time.Sleep(time.Second)
		b.up()
		time.Sleep(time.Second)
		wantName(t, "while it was down", b, gone)
		wantName(t, "while it was down", b, web, addr)
	})
}

// What lies on disk is judged as what comes from etcd is, and costs no other name anything.
func TestKeptNamesAreJudged(t *testing.T) {
	record := func(network, addr string) json.RawMessage {
		text, err := registry.FormatName(names.Record{
			Version: names.Version, Owner: names.Owner{Network: network, ContainerID: "c", IfName: "eth0"}, Names: []string{"web"},
			Addresses: []netip.Addr{netip.MustParseAddr(addr)},
		})
		if err != nil {
			t.Fatal(err)
		}
		return json.RawMessage(text)
	}
	own, other := []netip.Addr{netip.MustParseAddr("10.1.0.2")}, []netip.Addr{netip.MustParseAddr("10.1.0.3")}
	s, err := newStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]keptName{
		"b/1": {record("blue", "10.1.0.2"), own}, "b/2": {record("blue", "10.1.0.2"), other}, "b/3": {record("red", "10.1.0.2"), own},
		"b": {record("blue", "10.1.0.2"), own}, "a/1": {record("blue", "10.1.0.2"), own}, "b/4": {json.RawMessage(`"x"`), own},
	}
	if err := s.saveNames("blue", all); err != nil {
		t.Fatal(err)
	}
	index := names.NewIndex()
	a := &Agent{config: Config{Names: index}, identity: identity{Node: "a"}, files: s, cache: newCache(), others: newOthers()}
	a.cache.joined["blue"], a.cache.joined["green"] = true, true
	a.recallNames()
	if got := index.Keys(); !slices.Equal(got, []string{"blue/b/1"}) {
		t.Errorf("entered: %v", got)
	}
	if err := s.saveNames("blue", nil); err != nil {
		t.Fatal(err)
	}
	if kept, err := s.loadNames("blue"); err != nil || len(kept) != 0 {
		t.Errorf("kept: %v %v", kept, err)
	}
}

// What somebody else removes or leaves of a host's names is put right.
func TestNamesAreAudited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := namedWorld(t)
		a, b := w.hosts[0], w.hosts[1]
		start(t, b)
		web, addr := start(t, a)
		time.Sleep(time.Second)
		const prefix = "/fairway/v1/net/blue/names/host0/"
		for key := range w.etcd.Keys(prefix) {
			text := w.etcd.Keys(prefix)[key]
			w.etcd.Delete(key)
			w.etcd.Put(prefix+"left", text)
		}
		time.Sleep(4 * namesAudit)
		wantName(t, "removed by hand", b, web, addr)
		if keys := w.etcd.Keys(prefix); len(keys) != 1 {
			t.Errorf("keys: %v", keys)
		}
	})
}

// Networks of the agent ask for names, unless their definition says otherwise.
func TestConflistsAskForNames(t *testing.T) {
	for _, test := range []struct {
		without, host bool
		names         string // as JSON
		aliases       bool
	}{
		{false, false, `"names": {},`, true},
		{false, true, `"host": true`, true},
		{true, false, "", false},
	} {
		n := blue().Definition
		n.WithoutNames, n.HostGateway = test.without, test.host
		text, err := newConflists(Defaults(), store{dir: "/var/lib/fairway"}).definitionOf(n).Encode()
		if err != nil {
			t.Fatal(err)
		}
		if test.names == "" && strings.Contains(string(text), `"names"`) || !strings.Contains(string(text), test.names) ||
			strings.Contains(string(text), `"aliases": true`) != test.aliases {
			t.Errorf("%+v: %s", test, text)
		}
	}
}

// Names that were kept on disk, and that etcd still has, are not written again by an agent that starts; one that came meanwhile is.
func TestKeptNamesAreWrittenOnce(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h, other := w.hosts[0], w.hosts[1]
		h.mustAdd("blue")
		other.mustAdd("blue")
		time.Sleep(time.Minute)
		for _, added := range []bool{false, true} {
			h.down()
			before, want := h.keeping, h.keeping
			if before == 0 {
				t.Fatal("nothing was kept")
			}
			if added {
				other.mustAdd("blue")
				want++
			}
			h.up()
			time.Sleep(time.Minute)
			if h.keeping != want {
				t.Errorf("with one name more %v: written %d times, then %d, want %d", added, before, h.keeping, want)
			}
			w.check()
		}
	})
}
