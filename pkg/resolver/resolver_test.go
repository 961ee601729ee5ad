package resolver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/fairway-cni/fairway/pkg/names"
)

// answers is what a reply says, without what differs from one to the next: code, then the records, sorted.
func answers(r *dns.Msg) []string {
	all := []string{dns.RcodeToString[r.Rcode]}
	for _, rr := range r.Answer {
		all = append(all, dns.TypeToString[rr.Header().Rrtype]+" "+strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	slices.Sort(all[1:])
	return all
}

func want(t testing.TB, r *dns.Msg, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, answers(r)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", r.Question[0].String(), diff)
	}
}

func TestWhatIsAnswered(t *testing.T) {
	outside := serveUpstream(t, "127.0.0.1", world)
	h := newHost(t, "127.0.0.1")
	apache := h.attach("lamp", "web-1", addrs("10.1.0.2", "fd01::2"), aliases("apache"))
	h.attach("lamp", "web-2", addrs("10.1.0.3"), aliases("apache"))
	h.attach("lamp", "My Name.with.dots", addrs("10.1.0.4"))
	h.attach("lamp", strings.Repeat("x", 63), addrs("fd01::5"))
	h.attach("other", "secret", addrs("10.2.0.2"))

	for _, tt := range []struct {
		name  string
		qtype uint16
		want  []string
	}{
		{"web-1", dns.TypeA, []string{"NOERROR", "A 10.1.0.2"}},
		{"web-1", dns.TypeAAAA, []string{"NOERROR", "AAAA fd01::2"}},
		{"WEB-1.", dns.TypeA, []string{"NOERROR", "A 10.1.0.2"}},
		{"web-1", dns.TypeANY, []string{"NOERROR", "A 10.1.0.2", "AAAA fd01::2"}},
		{"web-1.lamp", dns.TypeA, []string{"NOERROR", "A 10.1.0.2"}},
		{"apache", dns.TypeA, []string{"NOERROR", "A 10.1.0.2", "A 10.1.0.3"}},
		{"apache.lamp", dns.TypeAAAA, []string{"NOERROR", "AAAA fd01::2"}},
		{"id-of-web-2", dns.TypeA, []string{"NOERROR", "A 10.1.0.3"}},
		{`my\032name.With.dots`, dns.TypeA, []string{"NOERROR", "A 10.1.0.4"}},
		{"my name.with.dots.lamp", dns.TypeA, []string{"NOERROR", "A 10.1.0.4"}},
		{strings.Repeat("X", 63), dns.TypeAAAA, []string{"NOERROR", "AAAA fd01::5"}},
		{"web-2", dns.TypeAAAA, []string{"NOERROR"}},
		{"web-2", dns.TypeMX, []string{"NOERROR"}},
		{"web-2", dns.TypeSRV, []string{"NOERROR"}},
		{"web-2", dns.TypeHTTPS, []string{"NOERROR"}},
		{"web-2", dns.TypeTXT, []string{"NOERROR"}},
		{"2.0.1.10.in-addr.arpa", dns.TypePTR, []string{"NOERROR", "PTR web-1.lamp."}},
		{"4.0.1.10.in-addr.arpa", dns.TypePTR, []string{"NOERROR", `PTR My\ Name.with.dots.lamp.`}},
		{"2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.d.f.ip6.arpa", dns.TypePTR, []string{"NOERROR", "PTR web-1.lamp."}},
	} {
		want(t, apache.ask(t, tt.name, tt.qtype), tt.want...)
		if n := outside.asked(tt.name); n != 0 {
			t.Errorf("%s %s was asked for outside", tt.name, dns.TypeToString[tt.qtype])
		}
	}
	r := apache.ask(t, "web-1", dns.TypeA)
	if !r.RecursionAvailable || r.Answer[0].Header().Ttl > 5 {
		t.Errorf("flags or TTL: %v", r)
	}
	// Names of a network that the asker is not on are nobody's.
	for _, name := range []string{"secret", "secret.other", "2.0.2.10.in-addr.arpa", "web-1.other"} {
		apache.ask(t, name, dns.TypePTR)
		if outside.asked(name) != 1 {
			t.Errorf("%s was not forwarded", name)
		}
	}
	want(t, apache.ask(t, "example.org", dns.TypeA), "NOERROR", "A 192.0.2.1")
}

func TestNetworksAreMerged(t *testing.T) {
	h := newHost(t)
	both := h.attach("one", "both", addrs("10.1.0.2"))
	second := record("two", "both", both.Path)
	second.Owner.IfName = "eth1"
	addrs("10.2.0.2")(&second)
	h.put(second)
	h.attach("one", "a", addrs("10.1.0.3"), aliases("db"))
	h.attach("two", "b", addrs("10.2.0.3"), aliases("db"))
	want(t, both.ask(t, "db", dns.TypeA), "NOERROR", "A 10.1.0.3", "A 10.2.0.3")
	want(t, both.ask(t, "db.two", dns.TypeA), "NOERROR", "A 10.2.0.3")
	h.remove(second.Owner)
	want(t, both.ask(t, "db", dns.TypeA), "NOERROR", "A 10.1.0.3")
}

func TestHostsAddress(t *testing.T) {
	h := newHost(t)
	c := h.attach("lamp", "c", addrs("10.1.0.2"), func(r *names.Record) { addrs := r.Addresses; r.Host = addrs })
	plain := h.attach("plain", "p", addrs("10.2.0.2"))
	want(t, c.ask(t, "host.docker.internal", dns.TypeA), "NOERROR", "A 10.1.0.2")
	want(t, c.ask(t, "host-gateway", dns.TypeAAAA), "NOERROR")
	want(t, plain.ask(t, "host.docker.internal", dns.TypeA), "SERVFAIL")
}

func TestInternalNetworks(t *testing.T) {
	outside := serveUpstream(t, "127.0.0.1", world)
	h := newHost(t, "127.0.0.1")
	isInternal := func(r *names.Record) { r.Internal = true }
	c := h.attach("vault", "c", addrs("10.1.0.2"), isInternal)
	want(t, c.ask(t, "c", dns.TypeA), "NOERROR", "A 10.1.0.2")
	want(t, c.ask(t, "example.org", dns.TypeA), "NXDOMAIN")
	if outside.asked("example.org") != 0 {
		t.Error("a query left the internal network")
	}
	second := record("open", "c", c.Path)
	second.Owner.IfName = "eth1"
	h.put(second)
	want(t, c.ask(t, "example.org", dns.TypeA), "NOERROR", "A 192.0.2.1")
}

func TestRecordsComeAndGo(t *testing.T) {
	h := newHost(t)
	c := h.attach("lamp", "c", addrs("10.1.0.2"))
	// Written by somebody who tells nobody.
	other := record("lamp", "late", c.Path)
	other.Netns = names.Netns{}
	addrs("10.1.0.9")(&other)
	if err := h.directory.Put(other); err != nil {
		t.Fatal(err)
	}
	eventually(t, "late is found", func() bool { return len(c.ask(t, "late", dns.TypeA).Answer) == 1 })
	if err := h.directory.Remove(other.Owner); err != nil {
		t.Fatal(err)
	}
	eventually(t, "late is gone", func() bool { return len(c.ask(t, "late", dns.TypeA).Answer) == 0 })
	// One that is no record hurts nobody.
	if err := os.WriteFile(filepath.Join(string(h.directory), "bad.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	want(t, c.ask(t, "c", dns.TypeA), "NOERROR", "A 10.1.0.2")
	h.remove(c.record.Owner)
	eventually(t, "nothing is left in the namespace", func() bool {
		return c.Sh(t, "nft", "list", "ruleset") == "" && c.Sh(t, "ss", "-Hlntu") == ""
	})
}

func TestRedirectIsRestored(t *testing.T) {
	h := newHost(t)
	c := h.attach("lamp", "c", addrs("10.1.0.2"))
	d := h.attach("lamp", "d", addrs("10.1.0.3"))
	for _, command := range []string{
		"flush ruleset", "delete table ip fairway-names", "flush table ip fairway-names", "flush chain ip fairway-names output",
	} {
		c.Sh(t, "nft", command)
		eventually(t, "answer after nft "+command, func() bool {
			_, err := c.tryAsk("udp", query("c", dns.TypeA))
			return err == nil
		})
		want(t, d.ask(t, "d", dns.TypeA), "NOERROR", "A 10.1.0.3")
	}
}

// TestRedirectIsRestoredAtOnce: also of a container that removes it the moment it starts, before the resolver watches it.
func TestRedirectIsRestoredAtOnce(t *testing.T) {
	h := newHost(t)
	for i := range 10 {
		name := fmt.Sprint("c", i)
		c := h.attach("lamp", name, addrs(fmt.Sprint("10.1.0.", 2+i)))
		c.Sh(t, "nft", "flush", "ruleset")
		eventually(t, "an answer in "+name, func() bool {
			_, err := c.tryAsk("udp", query(name, dns.TypeA))
			return err == nil
		})
	}
}

func TestRestart(t *testing.T) {
	h := newHost(t)
	c := h.attach("lamp", "c", addrs("10.1.0.2"))
	before := c.Sh(t, "nft", "list", "ruleset")
	h.end()
	if _, err := c.tryAsk("udp", query("c", dns.TypeA)); err == nil {
		t.Fatal("an answer without a resolver")
	}
	h.start(Config{})
	want(t, c.ask(t, "c", dns.TypeA), "NOERROR", "A 10.1.0.2")
	if diff := cmp.Diff(before, c.Sh(t, "nft", "list", "ruleset")); diff != "" {
		t.Errorf("redirect was not taken over (-before +after):\n%s", diff)
	}
	if err := New(Config{Directory: h.directory}).Run(t.Context(), func() {}); !errors.Is(err, ErrRunning) {
		t.Errorf("a second resolver: %v", err)
	}
}

func TestTemporary(t *testing.T) {
	h := newHost(t)
	h.end()
	h.start(Config{Temporary: true, Linger: 100 * time.Millisecond})
	if err := <-h.ended; err != nil {
		t.Fatal(err)
	}
	if err := h.directory.Tell(names.Owner{Network: "n", ContainerID: "c", IfName: "i"}); !errors.Is(err, names.ErrNoResolver) {
		t.Errorf("after its end: %v", err)
	}
	h.start(Config{})
	c := h.attach("lamp", "c", addrs("10.1.0.2")) // which takes longer, at times
	h.end()
	h.start(Config{Temporary: true, Linger: 100 * time.Millisecond})
	time.Sleep(500 * time.Millisecond) // longer than it lingers
	want(t, c.ask(t, "c", dns.TypeA), "NOERROR", "A 10.1.0.2")
	if err := c.Close(); err != nil { // without DEL
		t.Fatal(err)
	}
	if err := <-h.ended; err != nil {
		t.Fatal(err)
	}
	h.start(Config{Temporary: true, Linger: time.Minute})
	if err := h.directory.TellToLeave(); err != nil {
		t.Error(err)
	}
	if err := <-h.ended; err != nil {
		t.Fatal(err)
	}
	h.stop = nil
}

// A name is known as soon as its record is there, whoever has been told of it.
func TestRecordIsFoundWithTheFirstQuestion(t *testing.T) {
	outside := serveUpstream(t, "127.0.0.1", world)
	h := newHost(t, "127.0.0.1")
	c := h.attach("lamp", "c", addrs("10.1.0.2"))
	h.end()
	// Nothing is read but by the questions: neither the socket nor events are served.
	s := New(Config{Directory: h.directory, ResolvConf: h.resolv})
	if err := s.records.scan(); err != nil {
		t.Fatal(err)
	}
	defer s.spaces.stopAll()
	for i := range 50 {
		name := fmt.Sprint("late", i)
		late := record("lamp", name, c.Path)
		late.Owner.ContainerID = name
		addrs("10.1.0.9")(&late)
		if err := h.directory.Put(late); err != nil {
			t.Fatal(err)
		}
		want(t, c.ask(t, name, dns.TypeA), "NOERROR", "A 10.1.0.9")
		if outside.asked(name) != 0 {
			t.Errorf("%s was asked for outside", name)
		}
	}
}

// Those that share a name come in any order, so that they share the load too.
func TestShuffled(t *testing.T) {
	h := newHost(t)
	c := h.attach("lamp", "c", addrs("10.1.0.2", "10.1.0.3", "10.1.0.4"))
	first := map[string]bool{}
	eventually(t, "each is the first once", func() bool {
		first[c.ask(t, "c", dns.TypeA).Answer[0].String()] = true
		return len(first) == 3
	})
}

// The longest name that DNS carries.
func TestLongestName(t *testing.T) {
	long := strings.Repeat(strings.Repeat("x", 49)+".", 5) + "xyz"
	h := newHost(t)
	c := h.attach("lamp", "c", addrs("10.1.0.2"), aliases(long))
	want(t, c.ask(t, long, dns.TypeA), "NOERROR", "A 10.1.0.2")
	want(t, c.ask(t, "2.0.1.10.in-addr.arpa", dns.TypePTR), "NOERROR", "PTR c.lamp.")
}
