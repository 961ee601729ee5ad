package sandbox

import "syscall"

// The exit statuses of a shell for a command that was not run (POSIX.1-2017, Shell & Utilities, 2.8.2).
const (
	notExecutable = 126
	notFound      = 127
)

// signalStatus is the exit status of a command that a signal has ended, as in a shell.
func signalStatus(s syscall.Signal) int { return 128 + int(s) }

// statusOf is the exit status of a process as a shell gives it.
func statusOf(w syscall.WaitStatus) int {
	if w.Signaled() {
		return signalStatus(w.Signal())
	}
	return w.ExitStatus()
}
