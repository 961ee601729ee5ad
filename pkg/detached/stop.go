package detached

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Stop asks a container to end, by a signal to its command, and ends it when it has not done so after a time. It returns when all that the
// container had is taken away, and forgets it.
func (s Store) Stop(ctx context.Context, c Container, signal unix.Signal, patience time.Duration) error {
	if err := s.signal(c, c.Supervisor, signal); err != nil {
		return err
	}
	if !s.ends(ctx, c.ID, patience) && ctx.Err() == nil {
		if err := s.signal(c, c.Init, unix.SIGKILL); err != nil { // with it, the kernel ends all others
			return err
		}
		const detaching = time.Minute
		if !s.ends(ctx, c.ID, detaching) && ctx.Err() == nil {
			return fmt.Errorf("container %s was ended, and its networks are still being detached", c.Name)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.Remove(c.ID)
}

// signal sends a signal to a process of a container that runs: to that one, and not to another of the same number.
func (s Store) signal(c Container, pid int, signal unix.Signal) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("process %d of container %s: %w", pid, c.Name, err)
	}
	defer unix.Close(fd)
	if !s.locked(c.ID) {
		return nil // ended meanwhile: the process is somebody else's
	}
	if err := unix.PidfdSendSignal(fd, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("container %s: %w", c.Name, err)
	}
	return nil
}

// ends waits for the end of a container.
func (s Store) ends(ctx context.Context, id string, patience time.Duration) bool {
	const interval = 20 * time.Millisecond
	for until := time.Now().Add(patience); ; {
		if !s.locked(id) {
			return true
		}
		if time.Now().After(until) {
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(interval):
		}
	}
}
