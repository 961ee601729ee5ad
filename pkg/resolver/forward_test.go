package resolver

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/fairway-cni/fairway/pkg/nameport"
	"github.com/fairway-cni/fairway/pkg/names"
)

// big answers A questions with more than fits a datagram of 4096 bytes, truncated where it has to be.
func big(w dns.ResponseWriter, q *dns.Msg) {
	r := new(dns.Msg).SetReply(q)
	for i := range 40 {
		r.Answer = append(r.Answer, &dns.TXT{
			Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60},
			Txt: []string{fmt.Sprintf("%03d", i) + strings.Repeat("x", 200)},
		})
	}
	if opt := q.IsEdns0(); opt != nil {
		r.SetEdns0(1232, opt.Do())
	}
	if w.LocalAddr().Network() == "udp" {
		r.Truncate(sizeFor(q))
	}
	_ = w.WriteMsg(r)
}

func TestLargeAnswers(t *testing.T) {
	serveUpstream(t, "127.0.0.1", big)
	h := newHost(t, "127.0.0.1")
	c := h.attach("lamp", "c")
	for _, tt := range []struct {
		network   string
		size      uint16
		truncated bool
	}{
		{"udp", 0, true}, {"udp", 1232, true}, {"udp", 65535, false}, {"tcp", 0, false}, {"tcp", 1232, false},
	} {
		q := query("big.example", dns.TypeTXT)
		if tt.size > 0 {
			q.SetEdns0(tt.size, true)
		}
		r, err := c.tryAsk(tt.network, q)
		if err != nil {
			t.Fatalf("%s of %d bytes: %v", tt.network, tt.size, err)
		}
		opt := r.IsEdns0()
		if r.Truncated != tt.truncated || !tt.truncated && len(r.Answer) != 40 || (opt != nil) != (tt.size > 0) {
			t.Errorf("%s of %d bytes: truncated %t, %d answers, EDNS0 %t", tt.network, tt.size, r.Truncated, len(r.Answer), opt != nil)
		}
		if r.Truncated && r.Len() > max(512, int(tt.size)) {
			t.Errorf("%s of %d bytes: %d bytes", tt.network, tt.size, r.Len())
		}
	}
}

func TestServersOfTheContainer(t *testing.T) {
	atHost := serveUpstream(t, "127.0.0.1", world)
	h := newHost(t, "127.0.0.1")
	c := h.attach("lamp", "c", func(r *names.Record) {
		r.Servers = []netip.Addr{nameport.Addr, netip.MustParseAddr("127.0.0.1")} // ourselves, and one of the container's
	})
	want(t, c.ask(t, "example.org", dns.TypeA), "SERVFAIL") // at once: nobody listens there
	if atHost.asked("example.org") != 0 {
		t.Error("the container's server was asked from the host")
	}
}

// The host's resolv.conf may be replaced by renaming another, also behind a symbolic link, or be written in place.
func TestResolvConfChanges(t *testing.T) {
	for i := 2; i <= 4; i++ {
		serveUpstream(t, fmt.Sprintf("127.0.0.%d", i), func(w dns.ResponseWriter, q *dns.Msg) {
			r := new(dns.Msg).SetReply(q)
			r.Answer = append(r.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET},
				A:   []byte{192, 0, 2, byte(i)},
			})
			_ = w.WriteMsg(r)
		})
	}
	h := newHost(t, "127.0.0.2")
	c := h.attach("lamp", "c")
	asks := func(want string) {
		t.Helper()
		eventually(t, "an answer of "+want, func() bool {
			r := c.ask(t, "example.org", dns.TypeA)
			return len(r.Answer) == 1 && r.Answer[0].(*dns.A).A.String() == want
		})
	}
	asks("192.0.2.2")
	h.servers("127.0.0.3")
	asks("192.0.2.3")
	other := filepath.Join(t.TempDir(), "stub")
	write(t, other, "nameserver 127.0.0.4\n")
	if err := os.Rename(other, h.resolv); err != nil {
		t.Fatal(err)
	}
	asks("192.0.2.4")
	write(t, other, "nameserver 127.0.0.2\n")
	if err := os.Remove(h.resolv); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, h.resolv); err != nil {
		t.Fatal(err)
	}
	asks("192.0.2.2")
	write(t, other+".new", "# of another tool\nsearch example.org\nnameserver 127.0.0.3\n")
	if err := os.Rename(other+".new", other); err != nil {
		t.Fatal(err)
	}
	asks("192.0.2.3")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A server of the host that asks a container, which asks us, which ask the server of the host.
func TestLoopEnds(t *testing.T) {
	var c container
	var mu sync.Mutex
	rounds := 0
	serveUpstream(t, "127.0.0.1", func(w dns.ResponseWriter, q *dns.Msg) {
		mu.Lock()
		rounds++
		mu.Unlock()
		if r, err := c.tryAsk("udp", q); err == nil {
			_ = w.WriteMsg(r)
		}
	})
	h := newHost(t, "127.0.0.1")
	c = h.attach("lamp", "c")
	begun := time.Now()
	want(t, c.ask(t, "example.org", dns.TypeA), "SERVFAIL")
	if took := time.Since(begun); took < patience/2 {
		t.Errorf("a circle was taken for a failure after %s", took)
	}
	time.Sleep(time.Second)
	mu.Lock()
	defer mu.Unlock()
	if most := len(turnsOfOne()); rounds > most {
		t.Errorf("asked %d times around, want %d at most", rounds, most)
	}
}

// turnsOfOne are the turns of a single server.
func turnsOfOne() []start { return turns([]upstream{numbered(1)}) }

// Several that ask the same at once are answered by one question.
func TestSharedQuestions(t *testing.T) {
	release := make(chan struct{})
	outside := serveUpstream(t, "127.0.0.1", func(w dns.ResponseWriter, q *dns.Msg) {
		<-release
		world(w, q)
	})
	h := newHost(t, "127.0.0.1")
	c := h.attach("lamp", "c")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			r, err := c.tryAsk("udp", query("example.org", dns.TypeA))
			if err != nil || len(r.Answer) != 1 {
				t.Errorf("answer %v, %v", r, err)
			}
		})
	}
	eventually(t, "the question", func() bool { return outside.asked("example.org") > 0 })
	close(release)
	wg.Wait()
	if n := outside.asked("example.org"); n > 10 { // a question is asked again while the answer takes long
		t.Errorf("asked %d times", n)
	}
}
