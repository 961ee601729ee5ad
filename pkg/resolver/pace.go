package resolver

import (
	"sync"
	"time"
)

// burst is the time in which a reader may take its share at once.
const burst = 100 * time.Millisecond

// pace holds a reader to a number of messages a second, in bursts of a tenth of that.
type pace struct {
	perSecond int
	// flooded is the number after messages were dropped. 0: the same.
	flooded int

	begun         time.Time
	count         int
	dropped, seen uint32 // in all, and when the burst began
}

// note takes how many messages were dropped before the one that is taken next.
func (p *pace) note(dropped uint32) { p.dropped = dropped }

// take counts one message, and waits when there were too many.
func (p *pace) take() {
	perSecond := p.perSecond
	if p.flooded != 0 && p.dropped != p.seen {
		perSecond = p.flooded
	}
	if p.count++; p.count < perSecond/int(time.Second/burst) {
		return
	}
	now := time.Now()
	if rest := burst - now.Sub(p.begun); rest > 0 {
		time.Sleep(rest)
	}
	p.begun, p.count, p.seen = time.Now(), 0, p.dropped
}

// sharedPace is the pace of several readers together: one that waits keeps the others waiting.
type sharedPace struct {
	mu sync.Mutex
	pace
}

func (p *sharedPace) take() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pace.take()
}
