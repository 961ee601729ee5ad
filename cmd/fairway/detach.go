package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/detached"
	"github.com/fairway-cni/fairway/pkg/sandbox"
)

// detachedVar is the variable by which a process that supervises a container in the background knows its task: it holds the container's ID.
// Its descriptor reportFd leads to the process that was called.
const (
	detachedVar = "FAIRWAY_DETACHED"
	reportFd    = 3
)

// commandMissing is a shell's exit status for a command that is not there.
const commandMissing = 127

// detachReport is what the supervisor says once: that the command runs, or why it does not.
type detachReport struct {
	Problem string
	Status  int
}

func (e *env) containers() detached.Store { return detached.Store{Dir: detached.DefaultDir} }

// detach has another process run the command line, and prints the container's ID once the command runs.
func (e *env) detach(id string, command []string) error {
	switch {
	case len(command) == 0:
		return usageError{errors.New("--detach: give the command that is to run in the background")}
	case len(e.args) == 0:
		return errors.New("--detach: the command line is not known") // only where somebody embeds the program
	}
	if _, err := exec.LookPath(command[0]); err != nil {
		return failure{err, commandMissing} // the command's own end would only be found in what it has printed
	}
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	cmd := exec.Command("/proc/self/exe", e.args...)
	cmd.Env = append(os.Environ(), detachedVar+"="+id)
	cmd.Stderr = os.Stderr // until the command runs
	cmd.ExtraFiles = []*os.File{write}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer signal.Stop(signals)
	err = cmd.Start()
	write.Close()
	if err != nil {
		return err
	}
	reported := make(chan detachReport, 1)
	go func() {
		r := detachReport{Problem: "the process in the background has ended before the command began"}
		_ = json.NewDecoder(read).Decode(&r) // it may have been killed
		reported <- r
	}()
	for {
		select {
		case <-signals:
			_ = cmd.Process.Signal(unix.SIGTERM) // which takes back what is attached; it may have ended
		case r := <-reported:
			if r.Problem != "" {
				_ = cmd.Wait() // how it ended is said
				return failure{errors.New(r.Problem), max(r.Status, runFailure)}
			}
			_, err := fmt.Fprintln(e.stdout, id)
			return err
		}
	}
}

// supervise runs the command of a container in the background, in the process that detach has started.
func (e *env) supervise(spec sandbox.Spec, forget bool) (status int, err error) {
	unix.CloseOnExec(reportFd)
	report := os.NewFile(reportFd, "report")
	said := false
	say := func(r detachReport) {
		if !said {
			_ = json.NewEncoder(report).Encode(r) // whoever has gone needs none
			report.Close()
		}
		said = true
	}
	defer func() {
		if err != nil {
			say(detachReport{Problem: err.Error(), Status: runFailure})
		}
	}()
	dir := spec.Dir
	if dir == "" {
		if dir, err = os.Getwd(); err != nil {
			return 0, err
		}
	}
	record, err := e.containers().Begin(detached.Container{ID: spec.ID, Name: spec.Name, Command: spec.Command, Dir: dir, Created: time.Now()})
	if err != nil {
		return 0, err
	}
	log, written, err := record.Log()
	if err != nil {
		return 0, errors.Join(err, record.End(0, true))
	}
	if os.Stdin, err = os.Open(os.DevNull); err != nil {
		return 0, errors.Join(err, record.End(0, true))
	}
	os.Stdout, os.Stderr = log, log
	spec.Started = func(init int) {
		if err := record.Started(init); err != nil {
			fmt.Fprintf(log, "fairway: %v\n", err)
		}
		say(detachReport{})
		letGo()
	}
	status, err = sandbox.Run(spec)
	if err != nil {
		fmt.Fprintf(log, "fairway: %v\n", err)
	}
	log.Close()
	<-written
	return status, errors.Join(err, record.End(status, forget || !said))
}

// letGo gives back the terminal, and whatever else was standard error until now.
func letGo() {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer null.Close()
	for fd := range 3 {
		_ = unix.Dup3(int(null.Fd()), fd, 0) // it is there
	}
}
