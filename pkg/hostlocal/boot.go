package hostlocal

import (
	"log/slog"
	"strings"

	"golang.org/x/sys/unix"
)

// A boot is one run of one machine's kernel. No network namespace lives longer.
type boot struct {
	machine string // machine-id(5), or what else tells machines apart; empty: unknown
	id      string // random/boot_id of proc_sys_kernel(5); empty: unknown
}

// thisBoot reads what the kernel and the machine say.
func thisBoot() boot {
	b := boot{id: firstLine("/proc/sys/kernel/random/boot_id")}
	for _, file := range []string{"/etc/machine-id", "/var/lib/dbus/machine-id", "/sys/class/dmi/id/product_uuid"} {
		if b.machine = firstLine(file); b.machine != "" {
			break
		}
	}
	return b
}

// firstLine is empty for what is no single word.
func firstLine(file string) string {
	fd, err := linux{}.openat(unix.AT_FDCWD, file, unix.O_RDONLY, 0)
	if err != nil {
		return ""
	}
	defer linux{}.close(fd)
	content := make([]byte, 512)
	length, err := linux{}.pread(fd, content, 0)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(content[:length]), "\n")
	if fields := strings.Fields(line); len(fields) == 1 {
		return fields[0]
	}
	return ""
}

func (b boot) known() bool { return b.machine != "" && b.id != "" }

// after says whether another boot was an earlier one of the same machine. What another machine reserved, or one that is not
// known, is no earlier boot's.
func (b boot) after(other boot) bool {
	return b.known() && other.machine == b.machine && other.id != b.id
}

func (b boot) String() string { return b.machine + " " + b.id }

// markName is the file that names the boot in which the directory was last cleared of earlier ones.
const markName = "boot"

// readMark finds out whether the directory was cleared of earlier boots.
func (s *session) readMark() {
	if s.side == nil || !s.boot.known() {
		return
	}
	mark, err := s.side.read(markName)
	if err != nil {
		return
	}
	s.marked.machine, s.marked.id, _ = strings.Cut(string(mark), " ")
	s.current = s.marked == s.boot
}

// clearEarlierBoots removes what earlier boots of this machine have reserved. What it cannot do is left to the next call: an
// address too many is reserved until then.
func (s *session) clearEarlierBoots() {
	if !s.boot.known() || s.side == nil || s.current {
		return
	}
	if x := openIndex(s.side, s.mtime); x != nil {
		// Nobody has changed the directory since this machine's last boot.
		s.begins = s.begins || s.boot.after(s.marked)
		x.close()
	}
	if !s.begins {
		s.forgetHistory()
	}
	removed, foreign, err := s.void()
	if err == nil {
		err = s.side.replace(markName, []byte(s.boot.String()))
	}
	s.current = err == nil
	if err != nil {
		slog.Warn("host-local cannot remove the reservations of earlier boots", "network", s.network, "error", err)
	}
	if removed > 0 {
		slog.Info("host-local removed the reservations of an earlier boot", "network", s.network, "addresses", removed)
	}
	if foreign > 0 {
		slog.Warn("the directory of host-local holds reservations of another machine, which stay: give each machine a dataDir of its own",
			"network", s.network, "addresses", foreign)
	}
}

// void goes by the records alone, as clocks may be set between a reservation and the next: a reservation without a record is
// of an unknown time, and stays.
func (s *session) void() (removed, foreign int, err error) {
	names, err := s.net.names()
	if err != nil {
		return 0, 0, err
	}
	for _, name := range names {
		if _, ok := parseName(name); !ok {
			continue
		}
		r, err := s.record(name)
		switch {
		case isNotExist(err):
			continue
		case err != nil:
			return removed, foreign, err
		case s.boot.after(r.boot):
			if err := s.changing(func() error { return s.net.remove(name) }); err != nil {
				return removed, foreign, err
			}
			removed++
		case r.boot.known() && r.boot.machine != s.boot.machine:
			foreign++
		}
	}
	return removed, foreign, nil
}
