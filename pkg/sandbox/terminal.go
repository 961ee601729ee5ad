package sandbox

import (
	"os"
	"os/signal"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"
)

// kept are the signals that are for this process: of its children, of pipes, of the terminal's turns, what cannot be caught, faults of
// its own, and that by which the runtime of Go interrupts its threads. All others are meant for the command.
var kept = []os.Signal{
	unix.SIGCHLD, unix.SIGPIPE, unix.SIGTTIN, unix.SIGTTOU, unix.SIGTSTP, unix.SIGCONT, unix.SIGKILL, unix.SIGSTOP, unix.SIGURG,
	unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP, unix.SIGPROF,
}

// lastSignal is the highest number of a signal on Linux (_NSIG, signal(7)); libcs keep 32 and 33 for their threads.
const lastSignal, firstOfLibc, lastOfLibc = 64, 32, 33

// notify has the signals for the command sent to a channel, but for those that are ignored, as by nohup(1) and by shells in the background:
// the command ignores them too. The runtime of Go keeps that of SIGHUP and SIGINT.
func notify(signals chan<- os.Signal) {
	for number := unix.Signal(1); number <= lastSignal; number++ {
		ofLibc := number >= firstOfLibc && number <= lastOfLibc
		if !ofLibc && !slices.Contains(kept, os.Signal(number)) && !signal.Ignored(number) {
			signal.Notify(signals, number)
		}
	}
}

// surviveReaders keeps a write to a pipe that nobody reads any more from ending this process (SIGPIPE). What it executes is not concerned.
func surviveReaders() { signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) }

// ownsTerminal says whether a person talks to this process: it reads from a terminal, writes to it, and has it in the
// foreground.
func ownsTerminal() bool {
	for _, fd := range []int{0, 1} {
		if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
			return false
		}
	}
	return inForeground(0)
}

// inForeground says whether the terminal sends its signals to our process group.
func inForeground(fd int) bool {
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// setForeground gives the terminal to a process group. Where there is none, nothing is to be done.
func setForeground(group int) {
	// The kernel stops a process of the background that does this, unless it ignores that signal.
	signal.Ignore(unix.SIGTTOU)
	defer signal.Reset(unix.SIGTTOU)
	_ = unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, group) // a terminal that has gone needs no owner
}

// takeTerminal gives the terminal back to our process group.
func takeTerminal() { setForeground(unix.Getpgrp()) }

// sentToAll says whether a signal came from the terminal, which has sent it to the command as well, as that is of our
// process group.
func sentToAll(s os.Signal) bool {
	switch s {
	case unix.SIGINT, unix.SIGQUIT, unix.SIGWINCH:
	default:
		return false
	}
	terminal, err := os.Open("/dev/tty")
	if err != nil {
		return false // there is none
	}
	defer terminal.Close()
	return inForeground(int(terminal.Fd()))
}

// stopSelf stops this process as Ctrl-Z would, until its shell lets it go on, and says whether that is in the foreground.
// Without a shell that could, the kernel stops nothing.
func stopSelf() (inFront bool) {
	takeTerminal()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// To this very thread, so that nothing runs between the signal and the stop.
	_ = unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGTSTP) // the signal and the thread exist
	return inForeground(0)
}
