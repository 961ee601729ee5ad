package resolver

import (
	"context"
	"sync"

	"github.com/miekg/dns"

	"github.com/fairway-cni/fairway/pkg/names"
)

// Most queries that wait for an answer at one time. Each that is forwarded has a socket.
const (
	mostOfSpace = 256
	mostOfAll   = 1024
)

// limit refuses queries of a namespace that has too many open, and of all when all together have.
type limit struct {
	next Handler

	mu    sync.Mutex
	open  map[names.Space]int
	total int
}

func newLimit(next Handler) *limit { return &limit{next: next, open: map[names.Space]int{}} }

func (l *limit) Answer(ctx context.Context, q Query) *dns.Msg {
	if !l.enter(q.Space) {
		return reply(q.Msg, dns.RcodeRefused)
	}
	defer l.leave(q.Space)
	return l.next.Answer(ctx, q)
}

func (l *limit) enter(s names.Space) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[s] >= mostOfSpace || l.total >= mostOfAll {
		return false
	}
	l.open[s]++
	l.total++
	return true
}

func (l *limit) leave(s names.Space) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.open[s]--; l.open[s] == 0 {
		delete(l.open, s)
	}
}
