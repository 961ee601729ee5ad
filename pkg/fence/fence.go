// Package fence says until when a host may give out addresses of the blocks that it owns. Others may take a block whose owner has
// not been seen for long, and a host that was cut off cannot know: so it stops by itself before that, and also with its agent
// dead, as the time stands in a file. The agent writes it, the plugin reads it.
package fence

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Fence is the content of the file.
type Fence struct {
	// Until is by the clock of the day.
	Until time.Time `json:"until"`
	// Boot is the boot ID of the host, and Uptime the same moment by the clock of that boot, which nobody sets.
	Boot   string        `json:"boot"`
	Uptime time.Duration `json:"uptime"`
	// Reason is why the host has stopped at once, or empty.
	Reason string `json:"reason,omitempty"`
}

// Now is a moment by both clocks.
type Now struct {
	Time   time.Time
	Boot   string
	Uptime time.Duration
}

// Clock is the moment.
func Clock(boot string) Now {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return Now{Time: time.Now()} // then the clock of the day has to do
	}
	return Now{time.Now(), boot, time.Duration(t.Nano())}
}

// After is the fence that begins after some time.
func (n Now) After(d time.Duration) Fence {
	return Fence{Until: n.Time.Add(d).UTC().Truncate(time.Second), Boot: n.Boot, Uptime: n.Uptime + d}
}

// Check says why no address may be given out, or nil.
func (f Fence) Check(n Now) error {
	switch {
	case f.Reason != "":
		return fmt.Errorf("this host may not give out addresses: %s", f.Reason)
	case !n.Time.Before(f.Until), f.Boot == n.Boot && n.Boot != "" && n.Uptime >= f.Uptime:
		return fmt.Errorf("this host was not seen in etcd for so long that others may take its addresses (until %s it was allowed to give them out): see what keeps fairwayd from etcd",
			f.Until.Format(time.RFC3339))
	}
	return nil
}

// Encode is the file's content.
func (f Fence) Encode() []byte {
	text, err := json.Marshal(f)
	if err != nil {
		panic(err) // texts and numbers always marshal
	}
	return append(text, '\n')
}

// Read reads the file.
func Read(path string) (f Fence, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return f, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// BootID is that of the running kernel (proc_sys_kernel(5), random/boot_id).
func BootID() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("boot ID: %w", err)
	}
	return string(text[:max(0, len(text)-1)]), nil
}
