package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// Where the command runs on the terminal: the first argument of the process that becomes the command.
const (
	foreground = "foreground"
	background = "background"
	inside     = "inside" // of a container that runs: the command ends with the process that has asked for it
)

// execute becomes the command. In the foreground it is a process group of its own, which has the terminal, so that the
// terminal's signals reach it and not Run's process.
func execute(args []string) (status int) {
	place, command := args[0], args[1:]
	if place == foreground {
		if err := unix.Setpgid(0, 0); err == nil {
			setForeground(unix.Getpid())
		}
	}
	if place == inside {
		_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0) // without it, it ends with the container
	}
	file, err := exec.LookPath(command[0])
	if err == nil {
		err = syscall.Exec(file, command, os.Environ())
	}
	var lookup *exec.Error
	if errors.As(err, &lookup) {
		err = lookup.Err
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	if errors.Is(err, exec.ErrNotFound) {
		err = fmt.Errorf("%w of this machine, whose commands are what can be run: there are no images", err)
	}
	fmt.Fprintf(os.Stderr, "fairway: %s: %v\n", command[0], err)
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, unix.ENOENT) {
		return notFound
	}
	return notExecutable
}
