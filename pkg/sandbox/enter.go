package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Inside is a command in the namespaces of a container that runs.
type Inside struct {
	// Init is the first process of the container.
	Init    int
	Command []string
	// Env is added to the environment of the container.
	Env  []string
	User *User
	Dir  string
}

// Exec runs a command in a container, on the terminal and the files of this process, and gives its exit status as Run does. It ends with
// the container, and with this process.
func Exec(i Inside) (status int, err error) {
	pidfd, err := unix.PidfdOpen(i.Init, 0)
	if err != nil {
		return 0, fmt.Errorf("process %d of the container: %w", i.Init, err)
	}
	defer unix.Close(pidfd)
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", i.Init))
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self)
	cmd.Args = append([]string{nameExec, inside}, i.Command...)
	cmd.Env = append(strings.Split(strings.TrimSuffix(string(environ), "\x00"), "\x00"), i.Env...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = i.Dir, os.Stdin, os.Stdout, os.Stderr
	if u := i.User; u != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}}
	}
	// The terminal sends its signals to the command as well, which is in this process's group; others are passed on.
	signals := make(chan os.Signal, 16)
	notify(signals)
	defer signal.Stop(signals)
	started, ended := make(chan error), make(chan error)
	go onLostThread(func() {
		if err := join(pidfd); err != nil {
			started <- err
			return
		}
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		ended <- cmd.Wait()
	})
	if err := <-started; err != nil {
		return 0, fmt.Errorf("namespaces of the container: %w", err)
	}
	for {
		select {
		case s := <-signals:
			if !ownsTerminal() {
				_ = cmd.Process.Signal(s) // it may have ended
			}
		case err := <-ended:
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				return 0, err
			}
			return statusOf(cmd.ProcessState.Sys().(syscall.WaitStatus)), nil
		}
	}
}

// join moves the thread into the namespaces of a process; that of processes counts for its children.
func join(pidfd int) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // threads that share it cannot change the mounts that they see
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Setns(pidfd, unix.CLONE_NEWNS|unix.CLONE_NEWPID|unix.CLONE_NEWUTS|unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("setns: %w", err)
	}
	return nil
}
