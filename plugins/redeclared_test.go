package plugins

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// redeclared are attachments of several networks on one host, by name.
type redeclared map[string]attachment

// newRedeclared attaches a container to each of two bridges, which share tables and sets.
func newRedeclared(t *testing.T) redeclared {
	t.Helper()
	lamp := bridgeOn(t, testnet.NewNS(t, "lamp"))
	for key, value := range map[string]any{
		"name": "lamp", "bridge": "lamp0", "ipMasq": true, "isolated": true, "icc": false, "macspoofchk": true,
		"ipam": hostLocal(t.TempDir(), "10.1.0.0/24", "fd01::/64"),
	} {
		lamp = lamp.with(key, value)
	}
	back := lamp.with("name", "back").with("bridge", "back0").with("internal", true).with("ipam", hostLocal(t.TempDir(), "10.2.0.0/24")).
		on(testnet.NewNS(t, "back"), "eth0")
	all := redeclared{"lamp": lamp, "back": back}
	for name, a := range all {
		all[name] = a.after(a.add(t)).withEnv(attach.RedeclareVariable, attach.RedeclareAll)
	}
	return all
}

func (r redeclared) rules(t *testing.T) map[string]int {
	t.Helper()
	count := make(map[string]int)
	for line := range strings.Lines(r["lamp"].host.Sh(t, "nft", "list", "ruleset")) {
		count[strings.TrimSpace(line)]++
	}
	return count
}

func (r redeclared) flush(t *testing.T) { r["lamp"].host.Sh(t, "nft", "flush", "ruleset") }

// calls logs the calls by which rules that were flushed are declared again.
func (r redeclared) calls(t *testing.T) (log []byte) {
	t.Helper()
	r.flush(t)
	log, _, err := r["lamp"].traced(t, "CHECK", "-e", "trace="+changing)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// TestRedeclaredAfterAKill: whenever who declares rules again is killed, after a flush, the next one declares all of them.
func TestRedeclaredAfterAKill(t *testing.T) {
	r := newRedeclared(t)
	want := r.rules(t)
	for _, call := range drawn(r.calls(t)) {
		r.flush(t)
		_, _, _ = r["lamp"].traced(t, "CHECK", "-e", "trace="+changing, "-e", call.at("signal=KILL"))
		r["back"].succeed(t, "CHECK")
		r["lamp"].succeed(t, "CHECK")
		if diff := cmp.Diff(want, r.rules(t)); diff != "" {
			t.Errorf("killed at %s (-want +got):\n%s", call, diff)
		}
	}
}

// TestRedeclaredBeside: whenever who declares rules again is slow, and others do the same meanwhile, all are declared.
func TestRedeclaredBeside(t *testing.T) {
	r := newRedeclared(t)
	want := r.rules(t)
	for i, call := range drawn(r.calls(t)) {
		others := [][]string{{"back"}, {"lamp"}, {"back", "lamp"}}[i%3]
		r.flush(t)
		ended := make(chan error)
		go func() {
			// How far it comes before the others, and whether they end before it, does not matter.
			_, _, err := r["lamp"].traced(t, "CHECK", "-e", "trace="+changing, "-e", call.at("delay_enter=700ms"))
			ended <- err
		}()
		time.Sleep(300 * time.Millisecond)
		for _, other := range others {
			r[other].succeed(t, "CHECK")
		}
		if err := <-ended; err != nil {
			t.Errorf("slow at %s: %v", call, err)
		}
		r["back"].succeed(t, "CHECK")
		if diff := cmp.Diff(want, r.rules(t)); diff != "" {
			t.Errorf("slow at %s, beside %v (-want +got):\n%s", call, others, diff)
		}
	}
}
