package hostlocal

import (
	"log/slog"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bootMark is the file that remembers the boot of the reservations.
const bootMark = "boot"

// machine is what the store needs to know of the host.
type machine struct {
	bootID   string        // empty: unknown, reservations stay
	booted   time.Time     // by the current clock
	mounts   uint64        // inode of our mount namespace; 0: unknown
	patience time.Duration // with a busy lock
}

func thisMachine() machine {
	m := machine{patience: lockPatience}
	if id, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		m.bootID = strings.TrimSpace(string(id))
	}
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err == nil {
		m.booted = time.Now().Add(-time.Duration(up.Nano()))
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/mnt", &st); err == nil {
		m.mounts = st.Ino
	}
	return m
}

// voidEarlierBoot removes what was reserved before the machine was started,
// since no network namespace lives that long. A directory without a mark is
// upstream's, and is adopted as it is.
func (s *session) voidEarlierBoot(m machine) error {
	if s.side == nil || m.bootID == "" {
		return nil
	}
	mark, err := s.side.read(bootMark)
	if err == nil && string(mark) == m.bootID {
		return nil
	}
	if err == nil {
		if err := s.void(m); err != nil {
			return err
		}
	}
	if err := s.side.replace(bootMark, []byte(m.bootID)); err != nil {
		slog.Warn("host-local cannot remember the boot", "network", s.network, "error", err)
	}
	return nil
}

// void removes what belongs to another boot by its record or, without one (upstream's
// plugin writes none), by its age: upstream may have been faster than we after a start.
func (s *session) void(m machine) error {
	entries, err := s.scan()
	if err != nil {
		return err
	}
	removed := 0
	for _, e := range entries {
		name := e.addr.String()
		current, err := s.ofThisBoot(m, name)
		if err != nil {
			return err
		}
		if current {
			continue
		}
		if err := s.net.remove(name); err != nil {
			return err
		}
		removed++
	}
	if removed > 0 {
		slog.Info("host-local removed the reservations of an earlier boot", "network", s.network, "addresses", removed)
	}
	return nil
}

func (s *session) ofThisBoot(m machine, name string) (bool, error) {
	if r, ok := s.record(name); ok {
		return r.boot == m.bootID, nil
	}
	st, err := s.net.stat(name)
	if isNotExist(err) {
		return true, nil // removed by hand meanwhile
	}
	if err != nil {
		return false, err
	}
	return time.Unix(st.Mtim.Unix()).After(m.booted), nil
}
