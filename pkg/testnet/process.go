package testnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a daemon that a test runs, or that hosts have for longer.
type Process struct {
	cmd   *exec.Cmd
	log   *os.File
	begin int64 // of what this process has logged
	done  chan struct{}
	err   error // of Wait; to be read after done
}

// Start starts a daemon. The kernel ends it with this program, however that ends.
func Start(cmd *exec.Cmd) (*Process, error) {
	fd, err := unix.MemfdCreate("log", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return start(cmd, os.NewFile(uintptr(fd), "log"))
}

// startApart starts a daemon that outlives this program and the terminal. What it says is added to a file.
func startApart(cmd *exec.Cmd, path string) (*Process, error) {
	log, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return start(cmd, log)
}

// start starts a daemon for as long as hosts of its life are there. The path is where the log of those lies that stay.
func (l Life) start(cmd *exec.Cmd, path string) (*Process, error) {
	if l == UntilDown {
		return startApart(cmd, path)
	}
	return Start(cmd)
}

func start(cmd *exec.Cmd, log *os.File) (*Process, error) {
	before, err := log.Stat()
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, log: log, begin: before.Size(), done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = log, log
	started := make(chan error)
	go func() {
		// The kernel sends the parent-death signal when the starting thread ends, so that thread has to stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("%s: %w", cmd.Path, err)
	}
	return p, nil
}

// Await waits until the daemon has logged a text, and fails when it ends before that.
func (p *Process) Await(ctx context.Context, text string) error {
	for {
		ended := p.ended() // before its last words are read
		switch said := p.Log(); {
		case strings.Contains(said, text):
			return nil
		case ended:
			return fmt.Errorf("%s ended (%s) before it said %q:\n%s", p.cmd.Path, p.cmd.ProcessState, text, said)
		case ctx.Err() != nil:
			return fmt.Errorf("%s has not said %q in time:\n%s", p.cmd.Path, text, said)
		}
		select {
		case <-p.done:
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond): // nothing tells that a file has grown which has no name
		}
	}
}

func (p *Process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Log is what the daemon has written so far.
func (p *Process) Log() string {
	text, err := io.ReadAll(io.NewSectionReader(p.log, p.begin, math.MaxInt64-p.begin))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Pid is the daemon's process ID.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Stop sends a signal and waits for the end. It gives the error of an exit status other than 0; death by the signal itself,
// and an end before, are none.
func (p *Process) Stop(signal syscall.Signal) error {
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s: %w", p.cmd.Path, err)
	}
	<-p.done
	if state := p.cmd.ProcessState.Sys().(syscall.WaitStatus); state.Signaled() && state.Signal() == signal {
		return nil
	}
	return p.err
}
