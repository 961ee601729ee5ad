package testnet

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// kinds are the namespaces of a holder, none of which is anybody else's.
var kinds = []string{"net", "mnt", "uts"}

// homes are the holder's namespaces, as a link of /proc names them. A holder that has ended has none.
func (id processID) homes() (map[string]bool, error) {
	found := map[string]bool{}
	for _, kind := range kinds {
		home, err := os.Readlink(id.namespace(kind))
		if err != nil && id.alive() {
			return nil, err
		}
		found[home] = true
		if own, err := os.Readlink("/proc/thread-self/ns/" + kind); err != nil || own == home {
			return nil, fmt.Errorf("process %d has no %s namespace of its own: %w", id.Pid, kind, errors.Join(err, os.ErrInvalid))
		}
	}
	// The number may have become another's while it was read.
	if !id.alive() {
		return nil, nil
	}
	return found, nil
}

// residents are the processes in one of the holder's namespaces, and all their descendants: containers have left them
// all. The holder is not among them.
func (id processID) residents() (found []processState, err error) {
	homes, err := id.homes()
	if err != nil {
		return nil, err
	}
	all, err := processes()
	if err != nil {
		return nil, err
	}
	inside := map[int]bool{}
	for _, p := range all {
		if p.Pid == os.Getpid() {
			continue // one of this program's threads may have been there; its children are not for that reason
		}
		for _, kind := range kinds {
			at, err := os.Readlink(p.namespace(kind))
			if err == nil && homes[at] { // what cannot be read is another user's, or has ended
				inside[p.Pid] = true
			}
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
		if inside[p.Pid] && p.Pid != id.Pid {
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
func (id processID) endAll() error {
	stopped := map[processID]bool{}
	for again := true; again; {
		if !id.alive() {
			return nil
		}
		found, err := id.residents()
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
	return id.end()
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
