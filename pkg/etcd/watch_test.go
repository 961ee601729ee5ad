package etcd

import (
	"testing"
	"time"
)

// A member that answers is given up sooner than a proxy, which does not pass the question on.
func TestSilence(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, test := range []struct {
		name    string
		answers []time.Duration // after the question
		most    time.Duration
	}{
		{"a member", []time.Duration{time.Second, time.Second}, silenceMax},
		{"a proxy", nil, silenceProxy},
		{"a proxy, and a notification by chance", []time.Duration{time.Second}, silenceProxy},
		{"a proxy, and notifications", []time.Duration{30 * time.Second, 40 * time.Second, 50 * time.Second}, silenceProxy},
	} {
		s, now := silence{heard: start}, start
		for _, after := range test.answers {
			s.asked = now
			now = now.Add(after)
			s.hear(now, true)
		}
		if s.tooLong(now.Add(test.most)) || !s.tooLong(now.Add(test.most+time.Second)) {
			t.Errorf("%s: it is not given up after %v", test.name, test.most)
		}
	}
}
