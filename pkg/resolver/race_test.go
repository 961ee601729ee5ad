package resolver

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/fairway-cni/fairway/pkg/nameport"
)

func numbered(n byte) upstream {
	return upstream{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), nameport.Port)}
}

func TestTurns(t *testing.T) {
	var got []string
	for _, s := range turns([]upstream{numbered(1), numbered(2)}) {
		got = append(got, s.Addr.Addr().String()+" "+s.After.String())
	}
	want := []string{
		"192.0.2.1 0s", "192.0.2.2 200ms", "192.0.2.1 1s", "192.0.2.2 1.2s", "192.0.2.1 2.5s", "192.0.2.2 2.7s",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// conduct is how a server of the race behaves.
type conduct struct {
	after time.Duration
	rcode int
	err   error
	only  int // answers to this attempt alone; 0: to each
}

func TestRace(t *testing.T) {
	const never = time.Hour
	refused := errors.New("connection refused")
	for _, tt := range []struct {
		name    string
		servers []conduct
		want    string // RCODE, or none
		within  time.Duration
		asked   string // by number of server, in order
		failed  string
	}{
		{"one", []conduct{{after: 5 * time.Millisecond}}, "NOERROR", 5 * time.Millisecond, "1", ""},
		{"no server", nil, "none", 0, "", ""},
		{"NXDOMAIN is final", []conduct{{rcode: dns.RcodeNameError}, {}}, "NXDOMAIN", 0, "1", ""},
		{"first is dead", []conduct{{after: never}, {after: 5 * time.Millisecond}}, "NOERROR", 205 * time.Millisecond, "12", "1"},
		{"first is slow", []conduct{{after: 300 * time.Millisecond}, {after: never}}, "NOERROR", 300 * time.Millisecond, "12", "2"},
		{"first refuses at once", []conduct{{err: refused}, {after: 5 * time.Millisecond}}, "NOERROR", 5 * time.Millisecond, "12", "1"},
		{"first fails", []conduct{{rcode: dns.RcodeServerFailure}, {rcode: dns.RcodeRefused}, {}}, "NOERROR", 0, "123", ""},
		{"all fail", []conduct{{rcode: dns.RcodeServerFailure}, {rcode: dns.RcodeServerFailure}}, "SERVFAIL", 0, "12", ""},
		{"none listens", []conduct{{err: refused}, {err: refused}}, "none", 0, "12", "12"},
		{"a datagram is lost", []conduct{{after: 5 * time.Millisecond, only: 2}}, "NOERROR", 1005 * time.Millisecond, "11", ""},
		{"all are dead", []conduct{{after: never}, {after: never}}, "none", patience, "121212", "12"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var servers []upstream
				for i := range tt.servers {
					servers = append(servers, numbered(byte(i+1)))
				}
				var asked strings.Builder
				count := map[upstream]int{}
				ask := func(ctx context.Context, u upstream) (*dns.Msg, error) {
					n := u.Addr.Addr().As4()[3]
					c := tt.servers[n-1]
					count[u]++
					asked.WriteByte('0' + n)
					after := c.after
					if c.only != 0 && count[u] != c.only {
						after = never
					}
					select {
					case <-time.After(after):
						return &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: c.rcode}}, c.err
					case <-ctx.Done():
						return nil, ctx.Err()
					}
				}
				h := &health{failed: map[upstream]time.Time{}, now: time.Now}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				begun := time.Now()
				got := "none"
				if r := race(ctx, turns(servers), ask, h); r != nil {
					got = dns.RcodeToString[r.Rcode]
				}
				took := time.Since(begun)
				cancel()
				synctest.Wait()
				failed := ""
				for i, s := range servers {
					if _, ok := h.failed[s]; ok {
						failed += string(rune('1' + i))
					}
				}
				if got != tt.want || took != tt.within || asked.String() != tt.asked || failed != tt.failed {
					t.Errorf("%s after %s, asked %q, failed %q; want %s after %s, asked %q, failed %q",
						got, took, asked.String(), failed, tt.want, tt.within, tt.asked, tt.failed)
				}
			})
		})
	}
}

// A server that did not answer is asked last for a while.
func TestHealth(t *testing.T) {
	now := time.Unix(1000, 0)
	h := &health{failed: map[upstream]time.Time{}, now: func() time.Time { return now }}
	all := []upstream{numbered(1), numbered(2), numbered(3)}
	h.note(numbered(1), false)
	if diff := cmp.Diff([]upstream{numbered(2), numbered(3), numbered(1)}, h.order(all), cmp.Comparer(equal)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	now = now.Add(forget)
	if diff := cmp.Diff(all, h.order(all), cmp.Comparer(equal)); diff != "" {
		t.Errorf("after a while (-want +got):\n%s", diff)
	}
	h.note(numbered(2), false)
	h.note(numbered(2), true)
	if diff := cmp.Diff(all, h.order(all), cmp.Comparer(equal)); diff != "" {
		t.Errorf("after an answer (-want +got):\n%s", diff)
	}
}

func equal(a, b upstream) bool { return a == b }
