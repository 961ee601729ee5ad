package sandbox

import (
	"os"
	"os/signal"
	"runtime"

	"golang.org/x/sys/unix"
)

// forwarded are the signals that are meant for the command when this process gets them.
var forwarded = []os.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGWINCH,
}

// notify has the signals for the command sent to a channel, but for those that are ignored, as by nohup(1) and by shells in the background:
// the command ignores them too. The runtime of Go keeps that of SIGHUP and SIGINT.
func notify(signals chan<- os.Signal) {
	for _, s := range forwarded {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
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
