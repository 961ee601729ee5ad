package testnet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// Execute puts another program in this one's place, inside the namespace, so that signals, the terminal and the exit status
// are its own. It begins in the same working directory, or in / where there is none of that name. An error is one of
// exec.LookPath, in the namespace, or of execve(2).
func (n *Namespace) Execute(command ...string) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	return n.Do(func() error {
		if err := unix.Chdir(dir); err != nil && !errors.Is(err, unix.ENOENT) { // entering has left it in /
			return fmt.Errorf("chdir %s: %w", dir, err)
		}
		path, err := exec.LookPath(command[0])
		if err != nil {
			return err
		}
		// The kernel gives the program's process ID to the calling thread, which is the one inside (execve(2)).
		return fmt.Errorf("%s: %w", path, unix.Exec(path, command, os.Environ()))
	})
}
