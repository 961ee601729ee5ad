package testnet

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// home is the namespaces that a holder keeps.
type home struct {
	processID
	// Boot is the boot ID of the host, which is seen there and nowhere else: it tells who lives there when the holder has
	// been killed. The kernel gives the number of a namespace that has gone to another one.
	Boot string `json:"boot"`
}

// kinds are the namespaces of a holder, none of which is anybody else's.
var kinds = []string{"net", "mnt", "uts"}

// spaces are the holder's namespaces, as a link of /proc names them. A holder that has ended has none.
func (h home) spaces() (map[string]bool, error) {
	found, shared := map[string]bool{}, error(nil)
	for _, kind := range kinds {
		space, err := os.Readlink(h.namespace(kind))
		if err != nil && h.alive() {
			return nil, err
		}
		found[space] = true
		if own, err := os.Readlink("/proc/thread-self/ns/" + kind); err != nil || own == space {
			shared = fmt.Errorf("process %d has no %s namespace of its own: %w", h.Pid, kind, errors.Join(err, os.ErrInvalid))
		}
	}
	// The number may have become another's while it was read.
	if !h.alive() {
		return nil, nil
	}
	return found, shared
}

// has says whether a process lives in the namespaces of the home, which are given, or in one that was made there; or is about to, by
// nsenter.
func (h home) has(p processID, spaces map[string]bool) bool {
	command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.Pid)) // it may have ended
	if bytes.HasPrefix(command, []byte("nsenter\x00")) && bytes.Contains(command, fmt.Appendf(nil, "=/proc/%d/ns/", h.Pid)) {
		return true
	}
	for _, kind := range kinds {
		at, err := os.Readlink(p.namespace(kind))
		if err == nil && spaces[at] { // what cannot be read is another user's, or has ended
			return true
		}
	}
	boot, err := os.ReadFile(p.file(bootIDFile))
	return err == nil && strings.TrimSpace(string(boot)) == h.Boot
}

// residents are the processes of the home, and all their descendants: containers have left all its namespaces. The holder
// is not among them.
func (h home) residents() (found []processState, err error) {
	spaces, err := h.spaces()
	if err != nil {
		return nil, err
	}
	all, err := processes()
	if err != nil {
		return nil, err
	}
	inside := map[int]bool{}
	for _, p := range all {
		// One of this program's threads may be there; its children are not for that reason.
		if p.Pid != os.Getpid() && h.has(p.processID, spaces) {
			inside[p.Pid] = true
		}
	}
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if inside[p.parent] && !inside[p.Pid] && p.Pid != os.Getpid() {
				inside[p.Pid], grown = true, true
			}
		}
	}
	for _, p := range all {
		if inside[p.Pid] && p.Pid != h.Pid {
			found = append(found, p)
		}
	}
	return found, nil
}

// processes are all of the machine that can be seen.
func processes() (all []processState, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue // not a process
		}
		p, err := identify(pid)
		if errors.Is(err, os.ErrNotExist) {
			continue // ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// endAll ends the residents and then the holder, and with it the namespaces. It stops the residents first, until there
// is none that runs: what one has started a moment before it is killed would be nobody's child.
func (h home) endAll() error {
	stopped := map[processID]bool{}
	for again := true; again; {
		found, err := h.residents()
		if err != nil {
			return err
		}
		again = false
		for _, p := range found {
			if !stopped[p.processID] {
				again, stopped[p.processID] = true, true
				if err := p.stop(); err != nil {
					return err
				}
			}
		}
	}
	for p := range stopped {
		if err := p.end(); err != nil {
			return err
		}
	}
	return h.end()
}

// stop keeps the process from doing anything more, and waits until it has.
func (id processID) stop() error {
	if err := id.signal(unix.SIGSTOP); err != nil {
		return err
	}
	for {
		now, err := identify(id.Pid)
		if errors.Is(err, os.ErrNotExist) || err == nil && (now.Started != id.Started || strings.Contains("TtZX", now.state)) {
			return nil
		}
		if err != nil {
			return err
		}
		time.Sleep(time.Millisecond) // nothing tells a stranger
	}
}

// signal sends a signal unless the process has ended.
func (id processID) signal(s unix.Signal) error {
	fd, err := unix.PidfdOpen(id.Pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pidfd_open %d: %w", id.Pid, err)
	}
	defer unix.Close(fd)
	if !id.alive() { // it is looked at now, as the number may have become another's before
		return nil
	}
	if err := unix.PidfdSendSignal(fd, s, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill -%d %d: %w", s, id.Pid, err)
	}
	return nil
}

// end kills the process and waits until it has ended.
func (id processID) end() error {
	if err := id.signal(unix.SIGKILL); err != nil {
		return err
	}
	for id.alive() {
		time.Sleep(time.Millisecond)
	}
	return nil
}
