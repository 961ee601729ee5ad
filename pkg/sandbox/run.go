package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// Run runs the command on the terminal and the files of this process, and gives its exit status: 128 and the signal's
// number when a signal ended it, 126 when it cannot be executed, 127 when there is no such command, as in a shell. An error
// says that the sandbox could not be made, or not be taken down.
//
// Signals that this process gets meanwhile are passed on to the command.
func Run(s Spec) (status int, err error) {
	if !entered.Load() {
		return 0, errors.New("sandbox.Enter has not been called")
	}
	signals := make(chan os.Signal, 16)
	notify(signals)
	defer signal.Stop(signals)

	name, err := s.runtime().ReserveName(s.Name)
	if err != nil {
		return 0, err
	}
	defer name.Close()
	netns, err := s.netns()
	if err != nil {
		return 0, err
	}
	defer netns.Close()
	o, err := s.order()
	if err != nil {
		return 0, err
	}
	k, attached, err := startKeeper(netns, name, o, signals)
	var asked interrupted
	switch {
	case errors.As(err, &asked):
		return signalStatus(asked.signal), nil
	case err != nil:
		return 0, err
	}
	defer func() { err = errors.Join(err, k.release()) }()
	select {
	case asked := <-signals: // to end before it has begun
		return signalStatus(asked.(unix.Signal)), nil
	default:
	}
	order := initOrder{
		Hostname: s.Hostname, Domainname: s.Domainname, HostNetwork: s.HostNetwork, Command: s.Command, User: s.User, Dir: s.Dir,
		Foreground: ownsTerminal(),
	}
	if s.Files != nil {
		order.Files = s.Files(attached)
	}
	status, err = supervise(k, s, order, signals)
	select {
	case <-k.ended:
		err = errors.Join(err, errKeeperGone)
	default:
	}
	return status, err
}

// errKeeperGone says why a command was ended: without its keeper nobody would take away what a SIGKILL leaves, and others
// take the container for one that has gone.
var errKeeperGone = errors.New("the command was ended, because the process that keeps its networks was killed")

func (s Spec) netns() (*os.File, error) {
	switch {
	case s.HostNetwork:
		return os.Open(ownNetns)
	case s.Netns != "":
		return os.Open(s.Netns)
	}
	return newNetns()
}

func (s Spec) order() (order, error) {
	o := order{Netconf: s.Netconf, ID: s.ID, Name: s.Name, HostNetwork: s.HostNetwork, Sysctls: s.Sysctls, Cache: s.Cache, Plugins: s.Plugins}
	for _, e := range s.Endpoints {
		if len(e.Network.Bytes) == 0 {
			return order{}, fmt.Errorf("network %s has no configuration", e.Network.Name)
		}
		o.Endpoints = append(o.Endpoints, placement{Name: e.Network.Name, Conflist: e.Network.Bytes, Request: e.Request})
	}
	return o, nil
}

// supervise runs the init process in the namespace, until it ends, or the keeper does.
func supervise(k *keeper, s Spec, o initOrder, signals <-chan os.Signal) (status int, err error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return 0, err
	}
	defer ours.Close()
	cmd := exec.Command(self)
	cmd.Args = []string{nameInit}
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS, Pdeathsig: syscall.SIGKILL,
	}
	started, ended := make(chan error), make(chan error)
	go onLostThread(func() { runIn(k.netns, cmd, started, ended) })
	err = <-started
	theirs.Close()
	if err != nil {
		return 0, fmt.Errorf("namespaces of the command: %w", err)
	}
	if err := json.NewEncoder(ours).Encode(o); err != nil {
		return 0, errors.Join(fmt.Errorf("init process: %w", err), <-ended)
	}
	if o.Foreground {
		defer takeTerminal()
	}
	reports := make(chan report)
	go readReports(ours, reports)
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-k.ended:
			_ = cmd.Process.Kill() // it may have ended
		case <-over:
		}
	}()
	return supervised{cmd: cmd, to: ours, begun: s.Started}.follow(signals, reports, ended)
}

// runIn starts a command in a network namespace, and waits for it on the thread that has started it: the kernel sends the
// parent-death signal when that thread ends.
func runIn(netns *os.File, cmd *exec.Cmd, started, ended chan<- error) {
	if err := unix.Setns(int(netns.Fd()), unix.CLONE_NEWNET); err != nil {
		started <- fmt.Errorf("setns: %w", err)
		return
	}
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	started <- nil
	ended <- cmd.Wait()
}

// socketPair is two ends of a connection, of which a child gets the second.
func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "init"), os.NewFile(uintptr(fds[1]), "run"), nil
}

// report is what the init process says meanwhile.
type report struct {
	// Started: the command is being executed.
	Started bool
	// Stopped: the command waits in the background, as after Ctrl-Z.
	Stopped bool
	// Problem is why the command could not be started.
	Problem string
}

func readReports(from *os.File, reports chan<- report) {
	defer close(reports)
	in := json.NewDecoder(from)
	for {
		var r report
		if err := in.Decode(&r); err != nil {
			return // it has ended
		}
		reports <- r
	}
}

// supervised is the init process, with the connection to it and who is told that its command has begun.
type supervised struct {
	cmd   *exec.Cmd
	to    *os.File
	begun func(init int)
}

// follow passes signals on until the init process has ended.
func (s supervised) follow(signals <-chan os.Signal, reports <-chan report, ended <-chan error) (int, error) {
	cmd := s.cmd
	var problem error
	for reports != nil || ended != nil {
		select {
		case signal := <-signals:
			if !sentToAll(signal) {
				_ = cmd.Process.Signal(signal) // it may have ended
			}
		case r, more := <-reports:
			switch {
			case !more:
				reports = nil
			case r.Started:
				if s.begun != nil {
					s.begun(cmd.Process.Pid)
				}
			case r.Stopped:
				_ = json.NewEncoder(s.to).Encode(resume{Foreground: stopSelf()}) // likewise
			default:
				problem = errors.New(r.Problem)
			}
		case err := <-ended:
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				return 0, err
			}
			ended = nil
		}
	}
	return statusOf(cmd.ProcessState.Sys().(syscall.WaitStatus)), problem
}
