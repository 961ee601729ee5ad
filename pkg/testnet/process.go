package testnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// Process is a daemon that a test runs.
type Process struct {
	cmd  *exec.Cmd
	log  *log
	done chan struct{}
	err  error // of Wait; to be read after done
}

// Start starts a daemon. The kernel ends it with this program, however that ends.
func Start(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, log: newLog(), done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error)
	go func() {
		// The kernel sends the signal when the starting thread ends, so that thread has to stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
		close(p.done)
		p.log.close()
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("%s: %w", cmd.Path, err)
	}
	return p, nil
}

// Await waits until the daemon has logged a text, and fails when it ends before that.
func (p *Process) Await(ctx context.Context, text string) error {
	if p.log.await(ctx, text) {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s has not said %q in time:\n%s", p.cmd.Path, text, p.Log())
	}
	<-p.done
	return fmt.Errorf("%s ended (%w) before it said %q:\n%s", p.cmd.Path, p.err, text, p.Log())
}

// Log is what the daemon has written so far.
func (p *Process) Log() string { return p.log.text() }

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

// log collects output and wakes who waits for it.
type log struct {
	mu     sync.Mutex
	buffer bytes.Buffer
	grown  chan struct{} // closed at each change, and replaced
	ended  bool
}

func newLog() *log { return &log{grown: make(chan struct{})} }

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wake()
	return l.buffer.Write(b)
}

func (l *log) wake() {
	close(l.grown)
	l.grown = make(chan struct{})
}

func (l *log) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.wake()
}

func (l *log) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.String()
}

// await says whether the text came before the end of the output and of the context.
func (l *log) await(ctx context.Context, text string) bool {
	for {
		l.mu.Lock()
		found, ended, grown := bytes.Contains(l.buffer.Bytes(), []byte(text)), l.ended, l.grown
		l.mu.Unlock()
		if found || ended {
			return found
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return false
		}
	}
}
