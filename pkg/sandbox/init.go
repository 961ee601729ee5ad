package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// initControl is the descriptor of the connection to Run in the init process.
const initControl = 3

// initOrder is what the init process is asked for.
type initOrder struct {
	Hostname    string
	Domainname  string
	HostNetwork bool
	Command     []string
	User        *User
	Dir         string
	// Files are texts by the path over which they are bound.
	Files map[string]string
	// Foreground: the command gets the terminal, as a shell's job in the foreground.
	Foreground bool
}

// resume lets a command go on that was stopped.
type resume struct {
	// Foreground gives it the terminal again.
	Foreground bool
}

// initialise is the init process: the first one of the process namespace, with which the kernel ends all others.
func initialise() int {
	surviveReaders()
	unix.CloseOnExec(initControl)
	control := os.NewFile(initControl, "run")
	in, out := json.NewDecoder(control), json.NewEncoder(control)
	var o initOrder
	if err := in.Decode(&o); err != nil {
		return 1 // Run's process has gone
	}
	signals := make(chan os.Signal, 16)
	notify(signals)
	err := o.prepare()
	var command *os.Process
	if err == nil {
		command, err = o.start()
	}
	if err != nil {
		_ = out.Encode(report{Problem: err.Error()}) // who has gone needs none
		return 1
	}
	_ = out.Encode(report{Started: true}) // likewise
	go func() {
		for s := range signals {
			_ = unix.Kill(command.Pid, s.(unix.Signal)) // it may have ended
		}
	}()
	go resumeWhenAsked(in, command)
	return o.reap(command.Pid, out)
}

// start starts the command by way of a process that first takes the terminal.
func (o initOrder) start() (*os.Process, error) {
	place := background
	if o.Foreground {
		place = foreground
	}
	args := append([]string{nameExec, place}, o.Command...)
	attr := &os.ProcAttr{Dir: o.Dir, Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}}
	if u := o.User; u != nil {
		attr.Sys = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}}
	}
	command, err := os.StartProcess(self, args, attr)
	if err != nil {
		return nil, fmt.Errorf("starting the command: %w", err)
	}
	return command, nil
}

// resumeWhenAsked also ends the init process, and so all others, with Run's process.
func resumeWhenAsked(in *json.Decoder, command *os.Process) {
	for {
		var r resume
		if err := in.Decode(&r); err != nil {
			os.Exit(signalStatus(unix.SIGKILL))
		}
		if r.Foreground {
			setForeground(command.Pid)
		}
		_ = unix.Kill(-command.Pid, unix.SIGCONT) // it may have ended
	}
}

// reap waits for the command, and for whatever other process has lost its parent.
func (o initOrder) reap(command int, out *json.Encoder) int {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, unix.WUNTRACED, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 1 // no child at all: somebody else has waited for the command
		case pid != command:
		case status.Stopped() && o.Foreground:
			_ = out.Encode(report{Stopped: true}) // who has gone does not ask to go on
		case status.Stopped(): // whoever stopped it lets it go on
		default:
			return statusOf(status)
		}
	}
}
