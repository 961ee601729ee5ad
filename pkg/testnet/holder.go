package testnet

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// processID tells a process from a later one that the kernel gives the same number.
type processID struct {
	Pid int `json:"pid"`
	// Started is in clock ticks since the machine's boot (proc_pid_stat(5), field 22).
	Started uint64 `json:"started"`
}

// processState is what was seen of a process at one moment.
type processState struct {
	processID
	parent int
	// state is a letter of proc_pid_stat(5): T is stopped, Z has ended.
	state string
}

// identify looks at a process. Its error is fs.ErrNotExist when there is none.
func identify(pid int) (processState, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		if errors.Is(err, unix.ESRCH) {
			err = os.ErrNotExist
		}
		return processState{}, err
	}
	// The second field is a name in parentheses, with anything in it.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	const state, parent, started = 3, 4, 22
	p := processState{processID: processID{Pid: pid}}
	if len(fields) <= started-state {
		return p, fmt.Errorf("/proc/%d/stat: %d fields after the name", pid, len(fields))
	}
	p.state = fields[0]
	if p.parent, err = strconv.Atoi(fields[parent-state]); err != nil {
		return p, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	if p.Started, err = strconv.ParseUint(fields[started-state], 10, 64); err != nil {
		return p, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	return p, nil
}

// alive says whether the process is the one that was started, and is no zombie.
func (id processID) alive() bool {
	now, err := identify(id.Pid)
	return err == nil && now.Started == id.Started && now.state != "Z" && now.state != "X"
}

// file is the way to a file that the process sees.
func (id processID) file(path string) string { return fmt.Sprintf("/proc/%d/root%s", id.Pid, path) }

// namespace is the file of one of the process's namespaces.
func (id processID) namespace(kind string) string { return fmt.Sprintf("/proc/%d/ns/%s", id.Pid, kind) }

// holder is a process that does nothing but keep namespaces.
type holder struct {
	processID
	// confirm is closed for the holder to stay. It ends with its starter unless a line comes.
	confirm io.WriteCloser
}

// startHolder starts a process in new namespaces of each of the kinds. It ends at once unless it is kept.
func startHolder(l Life) (*holder, error) {
	cmd := exec.Command("sh", "-c", "read -r kept && exec sleep infinity")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWUTS}
	if l == WithProgram {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	confirm, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	started := make(chan error)
	go func() {
		// The kernel sends the parent-death signal when the starting thread ends, so that thread has to stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is killed
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("new namespaces: %w", err)
	}
	seen, err := identify(cmd.Process.Pid)
	if err != nil {
		return nil, errors.Join(err, confirm.Close())
	}
	return &holder{processID: seen.processID, confirm: confirm}, nil
}

// keep lets the holder stay: somebody knows of it.
func (h *holder) keep() error {
	_, err := io.WriteString(h.confirm, "\n")
	return errors.Join(err, h.confirm.Close())
}

// namespaces are those of the holder.
func (id processID) namespaces() Namespace {
	return Namespace{Path: id.namespace("net"), mount: id.namespace("mnt"), uts: id.namespace("uts")}
}
