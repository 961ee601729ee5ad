package agent

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// A pin waits for its container, and for each container anew.
func TestOverdue(t *testing.T) {
	pins := []netip.Addr{addr("10.42.9.1"), addr("10.42.9.2")}
	start := time.Now()
	look := func(pins, reserved []netip.Addr, before map[netip.Addr]time.Time, after time.Duration, want ...netip.Addr) map[netip.Addr]time.Time {
		t.Helper()
		unused, over := overdue(pins, reserved, before, start.Add(after))
		if !slices.Equal(over, want) {
			t.Errorf("after %v: %v are overdue, want %v", after, over, want)
		}
		return unused
	}
	unused := look(pins, nil, nil, 0)
	unused = look(pins, nil, unused, pinPatience)
	unused = look(pins, pins[:1], unused, pinPatience+time.Second, pins[1])
	unused = look(pins[:1], nil, unused, pinPatience+2*time.Second) // the first container has gone, and the second pin
	unused = look(pins, nil, unused, 2*pinPatience)                 // which is made again
	look(pins, nil, unused, 2*pinPatience+3*time.Second, pins[0])
}
