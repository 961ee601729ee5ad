package fence

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestFence(t *testing.T) {
	start := Now{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "boot1", time.Hour}
	f := start.After(time.Hour)
	at := func(clock, uptime time.Duration, boot string) Now {
		return Now{start.Time.Add(clock), boot, start.Uptime + uptime}
	}
	for _, test := range []struct {
		name  string
		fence Fence
		now   Now
		open  bool
	}{
		{"at once", f, start, true},
		{"a moment before", f, at(time.Hour-time.Second, time.Hour-time.Second, "boot1"), true},
		{"over", f, at(time.Hour, time.Hour, "boot1"), false},
		{"the clock was set back", f, at(-time.Hour, time.Hour, "boot1"), false},
		{"the clock was set forward", f, at(time.Hour, 0, "boot1"), false},
		{"after a reboot", f, at(time.Minute, -time.Hour, "boot2"), true},
		{"over after a reboot", f, at(2*time.Hour, -time.Hour, "boot2"), false},
		{"stopped", Fence{Reason: "another machine has its name"}, start, false},
		{"zero", Fence{}, start, false},
	} {
		if err := test.fence.Check(test.now); (err == nil) != test.open {
			t.Errorf("%s: %v, want open %v", test.name, err, test.open)
		}
	}
	path := filepath.Join(t.TempDir(), "confirmed.json")
	if err := os.WriteFile(path, f.Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(path); err != nil || got != f {
		t.Errorf("read %+v, %v, want %+v", got, err, f)
	}
	if now := Clock("b"); now.Uptime <= 0 {
		t.Errorf("clock %+v", now)
	}
}
