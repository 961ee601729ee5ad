package flock

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// busy is ErrBusy with those that hold the lock.
type busy struct{ holders string }

func (b busy) Error() string        { return "locked by " + b.holders }
func (b busy) Is(target error) bool { return target == ErrBusy }

// heldBy names the processes that hold a lock on an open file, or gives ErrBusy alone where the kernel does not tell.
func heldBy(file unix.Stat_t) error {
	table, err := os.ReadFile("/proc/locks")
	if err != nil {
		return ErrBusy
	}
	var holders []string
	for line := range strings.Lines(string(table)) {
		// proc_locks(5): "1: FLOCK ADVISORY WRITE 4711 00:2e:123 0 EOF"; who waits has "->" behind the number.
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "FLOCK" || !isFile(fields[5], file) {
			continue
		}
		if holder := process(fields[4]); holder != "" && !slices.Contains(holders, holder) {
			holders = append(holders, holder)
		}
	}
	if len(holders) == 0 {
		return ErrBusy
	}
	return busy{strings.Join(holders, ", ")}
}

func isFile(text string, file unix.Stat_t) bool {
	var major, minor uint32
	var inode uint64
	n, err := fmt.Sscanf(text, "%x:%x:%d", &major, &minor, &inode)
	// A file system such as overlayfs or btrfs shows a device of its own by stat(2).
	return err == nil && n == 3 && inode == file.Ino && (unix.Mkdev(major, minor) == file.Dev || unix.Major(file.Dev) == 0)
}

// process is the command line of a process, with its number. Empty: it has ended, or is not one of ours to see.
func process(number string) string {
	pid, err := strconv.Atoi(number)
	if err != nil || pid <= 0 {
		return ""
	}
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return ""
	}
	words := strings.Fields(string(bytes.ReplaceAll(command, []byte{0}, []byte{' '})))
	if len(words) > 0 {
		words[0] = filepath.Base(words[0])
	}
	const most = 80
	text := strings.Join(words, " ")
	if len(text) > most {
		text = text[:most] + "…"
	}
	return fmt.Sprintf("process %d (%q)", pid, text)
}
