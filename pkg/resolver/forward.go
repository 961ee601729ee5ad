package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/fairway-cni/fairway/pkg/names"
)

// forward asks the servers of the container, or else the host's.
type forward struct {
	index  *names.Index
	host   *resolvConf
	health *health

	mu     sync.Mutex
	asking map[question]*shared
}

func newForward(index *names.Index, path string) *forward {
	return &forward{
		index: index, host: &resolvConf{path: path}, asking: map[question]*shared{},
		health: &health{failed: map[upstream]time.Time{}, now: time.Now},
	}
}

// question is what makes two queries of one namespace the same.
type question struct {
	space names.Space
	dns.Question
	edns, do, checking, recursion bool
	size                          uint16
}

// shared is the answer to a question that several ask at once. Sharing it also ends a circle of servers that leads back to us:
// the question that comes back waits for itself, until the time is over, and asks nobody.
type shared struct {
	done  chan struct{}
	reply *dns.Msg
}

func (f *forward) Answer(ctx context.Context, q Query) *dns.Msg {
	asker, ok := f.index.Asker(q.Space)
	if !ok {
		return reply(q.Msg, dns.RcodeRefused)
	}
	k := asked(q)
	f.mu.Lock()
	s, others := f.asking[k]
	if !others {
		s = &shared{done: make(chan struct{})}
		f.asking[k] = s
	}
	f.mu.Unlock()
	if !others {
		s.reply = f.ask(ctx, q, asker)
		f.mu.Lock()
		delete(f.asking, k)
		f.mu.Unlock()
		close(s.done)
	}
	select {
	case <-s.done:
	case <-ctx.Done():
	}
	return s.replyTo(q.Msg)
}

func asked(q Query) question {
	k := question{space: q.Space, Question: q.Question(), checking: q.Msg.CheckingDisabled, recursion: q.Msg.RecursionDesired}
	if opt := q.Msg.IsEdns0(); opt != nil {
		k.edns, k.do, k.size = true, opt.Do(), opt.UDPSize()
	}
	return k
}

// replyTo is the shared reply as one of those who ask gets it.
func (s *shared) replyTo(q *dns.Msg) *dns.Msg {
	select {
	case <-s.done:
		if s.reply != nil {
			r := s.reply.Copy() // packing changes a message
			r.Id = q.Id
			return r
		}
	default:
	}
	return reply(q, dns.RcodeServerFailure)
}

// ask runs the race of the servers. Nil: none answered.
func (f *forward) ask(ctx context.Context, q Query, asker names.Asker) *dns.Msg {
	servers := ownServers(asker)
	if len(asker.Servers) == 0 {
		servers = f.host.upstreams()
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ask := func(ctx context.Context, u upstream) (*dns.Msg, error) { return exchange(ctx, u, q.Msg) }
	r := race(ctx, turns(f.health.order(servers)), ask, f.health)
	if r != nil && r.Rcode == dns.RcodeRefused {
		r.Rcode = dns.RcodeServerFailure // whoever refused, it was not us
	}
	return r
}

// exchange asks one server: by UDP, and again by TCP when the answer does not fit.
func exchange(ctx context.Context, u upstream, q *dns.Msg) (*dns.Msg, error) {
	r, err := exchangeBy(ctx, "udp", u, q)
	if err != nil || !r.Truncated {
		return r, err
	}
	if whole, err := exchangeBy(ctx, "tcp", u, q); err == nil {
		return whole, nil
	}
	return r, nil // what there is, with the mark that it is not all
}

func exchangeBy(ctx context.Context, network string, u upstream, q *dns.Msg) (*dns.Msg, error) {
	conn, err := dial(ctx, network, u)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // a socket that is open
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })() // likewise, to wake whoever reads
	c := &dns.Conn{Conn: conn, UDPSize: dns.MaxMsgSize}
	own := *q
	own.Id = dns.Id()
	if err := c.WriteMsg(&own); err != nil {
		return nil, err
	}
	for {
		r, err := c.ReadMsg()
		switch {
		case err == nil && fits(r, &own):
			return r, nil
		case err != nil && (network == "tcp" || isNetError(err)):
			return nil, err
		}
		// Somebody else's datagram, or one that was damaged: the right one may follow.
	}
}

func isNetError(err error) bool {
	var n net.Error
	return errors.As(err, &n)
}

// fits says whether a message answers ours. Some servers change the case of a name.
func fits(r, q *dns.Msg) bool {
	if r.Id != q.Id || !r.Response || len(r.Question) != 1 {
		return r.Id == q.Id && r.Response && len(r.Question) == 0 && r.Rcode != dns.RcodeSuccess
	}
	a, b := r.Question[0], q.Question[0]
	return a.Qtype == b.Qtype && a.Qclass == b.Qclass && strings.EqualFold(a.Name, b.Name)
}

// dial opens a socket towards a server, in the namespace that it is asked from.
func dial(ctx context.Context, network string, u upstream) (conn net.Conn, err error) {
	if u.From == (names.Netns{}) {
		return dialer.DialContext(ctx, network, u.Addr.String())
	}
	err = visit(u.From, func(int) error {
		conn, err = dialer.DialContext(ctx, network, u.Addr.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("server %s: %w", u.Addr, err)
	}
	return conn, nil
}
