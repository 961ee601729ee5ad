package liveness

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// holders is what the processes of a host hold of network namespaces.
type holders struct {
	dev uint64            // of namespaces
	at  map[uint64]string // a path to the namespace, by its inode
	// blind: something could not be read, so that a namespace which is not found may be there.
	blind bool
	seen  map[uint64]bool // mount namespaces that were read
}

// search walks through all processes, twice: one that was started meanwhile may have taken over from one that has ended.
func search() *holders {
	h := &holders{at: map[uint64]string{}}
	own, err := kernel.NamespaceAt("/proc/self/ns/net")
	if err != nil {
		return &holders{blind: true}
	}
	h.dev = own.Dev
	for range 2 {
		h.seen = map[uint64]bool{}
		h.walk()
	}
	h.ownMounts() // these paths do not end with another process
	return h
}

// hold says whether a namespace is among those found. One whose cookie cannot be read is.
func (h *holders) hold(id kernel.NamespaceID) bool {
	path, ok := h.at[id.Inode]
	if !ok {
		return h.blind
	}
	found, err := kernel.Identify(path)
	if err != nil {
		return true // it has gone on to somebody else since
	}
	return found.Is(id)
}

func (h *holders) walk() {
	h.each(func(process string) {
		h.threads(process)
		h.descriptors(process)
		h.mounts(process)
	})
}

// each calls f with the directory of each process.
func (h *holders) each(f func(process string)) {
	processes, err := os.ReadDir("/proc")
	if err != nil {
		h.blind = true
		return
	}
	for _, p := range processes {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		f(filepath.Join("/proc", p.Name()))
	}
}

// note takes in what was found, and what went wrong: a process may end at any time, anything else leaves a doubt.
func (h *holders) note(err error) {
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
		h.blind = true
	}
}

// threads looks at the namespace that each thread is in.
func (h *holders) threads(process string) {
	threads, err := os.ReadDir(process + "/task")
	h.note(err)
	for _, t := range threads {
		path := process + "/task/" + t.Name() + "/ns/net"
		var st unix.Stat_t
		err := unix.Stat(path, &st)
		h.note(err)
		if err == nil {
			h.at[st.Ino] = path
		}
	}
}

// descriptors looks at the files that a process has open. Its threads have the same, but for those that called unshare(2).
func (h *holders) descriptors(process string) {
	fds, err := os.ReadDir(process + "/fd")
	h.note(err)
	for _, fd := range fds {
		path := process + "/fd/" + fd.Name()
		// A file system that does not answer must not be waited for.
		var st unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &st)
		h.note(err)
		if err == nil && unix.Mkdev(st.Dev_major, st.Dev_minor) == h.dev {
			h.at[st.Ino] = path
		}
	}
}

// inodeOf reads how the kernel names a network namespace, "net:[4026531840]".
func inodeOf(name string) (uint64, bool) {
	text, ok := strings.CutPrefix(name, "net:[")
	if !ok {
		return 0, false
	}
	inode, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 64)
	return inode, err == nil
}

// mounts looks at what is bound to files in the mount namespace of a process, once for all processes in it.
func (h *holders) mounts(process string) {
	var st unix.Stat_t
	err := unix.Stat(process+"/ns/mnt", &st)
	h.note(err)
	if err != nil || h.seen[st.Ino] {
		return
	}
	h.seen[st.Ino] = true
	for inode, path := range h.bound(process) {
		h.at[inode] = process + "/root" + path
	}
}

// ownMounts are those of this process. One that another mount hides is left out.
func (h *holders) ownMounts() {
	for inode, path := range h.bound("/proc/self") {
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil && st.Dev == h.dev && st.Ino == inode {
			h.at[inode] = path
		}
	}
}

// bound is the namespaces that are bound to files in the mount namespace of a process, and the paths that it has for them.
func (h *holders) bound(process string) map[uint64]string {
	found := map[uint64]string{}
	table, err := os.ReadFile(process + "/mountinfo")
	h.note(err)
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line) // proc_pid_mountinfo(5): ID, parent, device, root, mount point
		if len(fields) < 5 {
			continue
		}
		if inode, ok := inodeOf(fields[3]); ok {
			found[inode] = unescape(fields[4])
		}
	}
	return found
}

// unescape reads the octal notation that mountinfo has for spaces and the like.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}
