package resolver

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// patience is how long a query may take: less than the five seconds after which a libc gives up, so that it hears of it.
const patience = 4 * time.Second

// headStart is what a server gets before the next is asked too. A libc waits for five seconds.
const headStart = 200 * time.Millisecond

// rounds are when all servers are asked, once more each time: a datagram may be lost.
var rounds = [...]time.Duration{0, time.Second, 2500 * time.Millisecond}

// start is one server's turn.
type start struct {
	upstream
	After time.Duration
}

// turns is the race of some servers as data:
//
//	first   0 ms ········ 1 s ·········· 2.5 s
//	second  200 ms ······ 1.2 s ········ 2.7 s
//	third   400 ms ······ 1.4 s ········ 2.9 s
func turns(servers []upstream) (all []start) {
	for _, round := range rounds {
		for i, s := range servers {
			all = append(all, start{s, round + time.Duration(i)*headStart})
		}
	}
	return all
}

// health remembers which servers did not answer.
type health struct {
	mu     sync.Mutex
	failed map[upstream]time.Time
	now    func() time.Time
}

// forget is after what time a server that did not answer gets another chance to be first.
const forget = 30 * time.Second

// order puts servers that did not answer lately behind the others.
func (h *health) order(servers []upstream) []upstream {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	ordered := slices.Clone(servers)
	slices.SortStableFunc(ordered, func(a, b upstream) int { return h.rank(a, now) - h.rank(b, now) })
	return ordered
}

func (h *health) rank(u upstream, now time.Time) int {
	if at, ok := h.failed[u]; ok && now.Sub(at) < forget {
		return 1
	}
	return 0
}

func (h *health) note(u upstream, answered bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if answered {
		delete(h.failed, u)
		return
	}
	const most = 4096 // servers of containers that have gone
	if len(h.failed) >= most {
		clear(h.failed)
	}
	h.failed[u] = h.now()
}

// result is what came of one turn.
type result struct {
	from upstream
	msg  *dns.Msg
	err  error
}

// final says whether no other server has to be asked. One that fails or refuses may be asked for what it does not serve.
func (r result) final() bool {
	return r.err == nil && r.msg.Rcode != dns.RcodeServerFailure && r.msg.Rcode != dns.RcodeRefused
}

// race asks servers by turns until one answers. A server that fails at once hands its turn on. The reply is nil when none
// answered.
func race(ctx context.Context, all []start, ask func(context.Context, upstream) (*dns.Msg, error), h *health) *dns.Msg {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := runner{results: make(chan result, len(all)), waiting: map[upstream]int{}, health: h}
	begun := time.Now()
	for len(all) > 0 || len(r.waiting) > 0 {
		var due <-chan time.Time
		if len(all) > 0 {
			due = time.After(max(0, all[0].After-time.Since(begun)))
		}
		select {
		case <-ctx.Done():
			r.blameWaiting()
			return r.worst
		case <-due:
			r.launch(ctx, all[0].upstream, ask)
			all = all[1:]
		case got := <-r.results:
			if r.take(got) {
				return got.msg
			}
			if len(all) > 0 && len(r.waiting) == 0 {
				begun = begun.Add(-max(0, all[0].After-time.Since(begun))) // its turn is now, and the others' as much earlier
			}
		}
		all = r.withoutFailed(all)
	}
	return r.worst
}

// runner is the state of one race.
type runner struct {
	results chan result
	waiting map[upstream]int
	failed  []upstream // those that have said no: asking again is of no use
	worst   *dns.Msg
	health  *health
}

func (r *runner) launch(ctx context.Context, u upstream, ask func(context.Context, upstream) (*dns.Msg, error)) {
	r.waiting[u]++
	go func() {
		msg, err := ask(ctx, u)
		r.results <- result{u, msg, err}
	}()
}

// take notes a result, and says whether it ends the race: those that were asked before and are silent are too slow.
func (r *runner) take(got result) bool {
	if r.waiting[got.from]--; r.waiting[got.from] == 0 {
		delete(r.waiting, got.from)
	}
	r.health.note(got.from, got.err == nil)
	if got.final() {
		delete(r.waiting, got.from) // its other answer is late, or was lost
		r.blameWaiting()
		return true
	}
	if got.err == nil {
		r.worst = got.msg
	}
	r.failed = append(r.failed, got.from)
	return false
}

func (r *runner) blameWaiting() {
	for u := range r.waiting {
		r.health.note(u, false)
	}
}

func (r *runner) withoutFailed(all []start) []start {
	return slices.DeleteFunc(all, func(s start) bool { return slices.Contains(r.failed, s.upstream) })
}
