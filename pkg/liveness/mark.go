package liveness

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Mark identifies a network namespace for longer than a boot, and says who has seen it. The zero value identifies nothing.
type Mark struct {
	id kernel.NamespaceID
	view
}

// view is from where a process sees namespaces.
type view struct {
	boot string
	// processes is the process namespace: its number, and when its first process was started, in clock ticks since the boot.
	processes string
}

// MarkAt identifies the namespace that a path leads to. Errors: kernel.ErrNoNamespace, kernel.ErrNotNamespace, and those of the
// operating system.
func MarkAt(path string) (Mark, error) {
	id, err := kernel.Identify(path)
	if err != nil {
		return Mark{}, err
	}
	return MarkOf(id)
}

// MarkOf identifies a namespace of this boot. Errors are those of the operating system.
func MarkOf(id kernel.NamespaceID) (Mark, error) {
	view, err := thisView()
	return Mark{id, view}, err
}

// Is says whether both mark the same namespace of the same boot.
func (m Mark) Is(other Mark) bool { return m.id.Is(other.id) && m.boot == other.boot }

// IsHost says whether the mark is of the namespace that the process runs in.
func (m Mark) IsHost() bool {
	own, err := kernel.HostID()
	return err == nil && own.Is(m.id)
}

// OfThisBoot says whether the mark is not certainly of an earlier boot.
func (m Mark) OfThisBoot() bool {
	boot, err := bootID()
	return err != nil || boot == m.boot
}

// Namespace is what the mark identifies, within the boot.
func (m Mark) Namespace() kernel.NamespaceID { return m.id }

// String is a word of letters, digits, ".", ":" and "-", for ParseMark.
func (m Mark) String() string {
	return fmt.Sprintf("%s:%d:%d:%d:%s", m.boot, m.id.Dev, m.id.Inode, m.id.Cookie, m.processes)
}

// ParseMark reads what String has written; ok is false for any other text.
func ParseMark(text string) (m Mark, ok bool) {
	if strings.ContainsAny(text, " \t\n") {
		return Mark{}, false
	}
	boot, rest, _ := strings.Cut(text, ":")
	n, err := fmt.Sscanf(rest, "%d:%d:%d:%s", &m.id.Dev, &m.id.Inode, &m.id.Cookie, &m.processes)
	m.boot = boot
	if err != nil || n != 4 || boot == "" || m.id.Inode == 0 || m.String() != text {
		return Mark{}, false
	}
	return m, true
}

func thisView() (view, error) {
	boot, err := bootID()
	if err != nil {
		return view{}, err
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return view{}, &os.PathError{Op: "stat", Path: "/proc/self/ns/pid", Err: err}
	}
	v := view{boot: boot, processes: fmt.Sprint(st.Ino)}
	const initial = 0xeffffffc // PROC_PID_INIT_INO: sees all processes
	if st.Ino == initial {
		return v, nil
	}
	// A number is given again; with the start of its first process it is not.
	first, err := os.ReadFile("/proc/1/stat")
	if err != nil {
		return view{}, err
	}
	_, fields, _ := strings.Cut(string(first), ") ") // the name before may hold spaces
	const starttime = 22 - 3                         // proc_pid_stat(5); fields begins with the third
	if all := strings.Fields(fields); len(all) > starttime {
		v.processes += "." + all[starttime]
	}
	return v, nil
}

var errForeignBoot = errors.New("not the kernel's: a container manager has bound its own file there")

// bootID is the kernel's. Container managers give a container one of its own, which tells nothing of a boot.
func bootID() (string, error) {
	const path = "/proc/sys/kernel/random/boot_id"
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return "", &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	if st.Type != unix.PROC_SUPER_MAGIC {
		return "", &os.PathError{Op: "read", Path: path, Err: errForeignBoot}
	}
	id, err := kernel.ReadSmall(path)
	return strings.TrimSpace(id), err
}
