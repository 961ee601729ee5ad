package agent

import (
	"testing"
	"time"
)

// TestJudge: a host is down when it has had time to answer and has not, and not because nobody has asked it.
func TestJudge(t *testing.T) {
	const never = -1
	s := time.Second
	for _, c := range []struct {
		name                       string
		unanswered, sent, received time.Duration
		want                       reach
	}{
		{"nothing was ever sent", never, never, never, unknown},
		{"the first packet is under way", s, s, never, waiting},
		{"no handshake was ever answered", 20 * s, 2 * s, never, down},
		{"just not yet", 15*s - 1, 0, never, waiting},
		{"just so", 15 * s, 0, never, down},
		{"packets go and come", never, s, s, reached},
		{"it sends, and is not answered by anybody here", never, never, s, reached},
		{"the last packet is not answered yet", 5 * s, 5 * s, 6 * s, waiting},
		{"it has answered once, and does no more", time.Minute, 5 * s, time.Minute + s, down},
		{"the last try was a while ago", 2 * time.Minute, 100 * s, never, down},
		{"nobody asks any more", time.Hour, 50 * time.Minute, 2 * time.Hour, unknown},
		{"idle, keepalive being off", never, time.Minute, time.Minute, reached},
		{"idle for long", never, time.Hour, time.Hour, unknown},
	} {
		if got := judge(c.unanswered, c.sent, c.received); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestContact reads durations from counters.
func TestContact(t *testing.T) {
	var c contact
	start := time.Unix(1000, 0)
	for _, step := range []struct {
		after          int // seconds
		sent, received int64
		want           reach
	}{
		{0, 0, 0, unknown},
		{1, 148, 0, waiting}, // a handshake, and two more
		{6, 296, 0, waiting},
		{16, 444, 0, down},
		{17, 444, 92, reached},
		{20, 600, 92, waiting}, // a packet, and a keepalive for it
		{30, 600, 124, reached},
		{60, 700, 200, reached}, // both within one look
		{300, 700, 200, unknown},
		{301, 148, 0, reached}, // a device made anew: what it has counted is not what came before
		{302, 148, 0, reached},
		{310, 296, 0, waiting},
		{330, 444, 0, down},
	} {
		now := start.Add(time.Duration(step.after) * time.Second)
		c = c.see(step.sent, step.received, now)
		if got := c.state(now); got != step.want {
			t.Errorf("after %d s: %d, want %d", step.after, got, step.want)
		}
	}
}
