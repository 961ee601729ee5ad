package state

import (
	"fmt"
	"net"
	"time"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Agent is the node agent that keeps a network's peers up to date. Attaching works without it, on what it knew last.
type Agent struct {
	attribute
	// Socket is where it listens.
	Socket string
}

func (a Agent) String() string { return "# the node agent listens on " + a.Socket }

// Ensure has nothing to make.
func (Agent) Ensure(*kernel.Kernel) (bool, error) { return false, nil }

// Verify has nothing to look at: what the agent keeps is verified by itself.
func (Agent) Verify(*kernel.Kernel) error { return nil }

// Ready says whether the agent listens. The error wraps ErrLimited.
func (a Agent) Ready(*kernel.Kernel) error {
	const timeout = time.Second
	conn, err := net.DialTimeout("unix", a.Socket, timeout)
	if err != nil {
		return fmt.Errorf("the node agent does not answer, %w: hosts that come and go are not noticed, start fairwayd: %w", ErrLimited, err)
	}
	return conn.Close()
}
