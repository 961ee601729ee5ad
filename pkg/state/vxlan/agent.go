package vxlan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Agent is the node agent that keeps a network's peers up to date. Attaching works without it, on what it knew last.
type Agent struct {
	state.Attribute
	// Socket is where it listens.
	Socket string
}

var _ state.Readier = Agent{}

func (a Agent) String() string { return "# the node agent listens on " + a.Socket }

// Ensure has nothing to make.
func (Agent) Ensure(*kernel.Kernel) (bool, error) { return false, nil }

// Verify has nothing to look at: what the agent keeps is verified by itself.
func (Agent) Verify(*kernel.Kernel) error { return nil }

// agentTimeout is for an answer that needs nothing but the agent itself.
const agentTimeout = 2 * time.Second

// Ready says whether the agent listens, and follows its store. The error wraps ErrLimited.
func (a Agent) Ready(*kernel.Kernel) error {
	connected, err := a.connected()
	switch {
	case err != nil:
		return fmt.Errorf("the node agent does not answer, %w: hosts that come and go are not noticed, start fairwayd: %w", state.ErrLimited, err)
	case !connected:
		return fmt.Errorf("the node agent has no connection to etcd, %w: hosts that come and go are not noticed, its log says why", state.ErrLimited)
	}
	return nil
}

// connected asks for the agent's health (package agentapi). A plugin does without net/http, whose initialization each call
// would pay for; HTTP 1.0 ends an answer with the connection (RFC 1945, 7.2.2).
func (a Agent) connected() (bool, error) {
	conn, err := net.DialTimeout("unix", a.Socket, agentTimeout)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }() // all has been read
	if err := conn.SetDeadline(time.Now().Add(agentTimeout)); err != nil {
		return false, err
	}
	if _, err := conn.Write([]byte("GET /v1/health HTTP/1.0\r\nHost: fairwayd\r\n\r\n")); err != nil {
		return false, err
	}
	const most = 1 << 20
	answer, err := io.ReadAll(io.LimitReader(conn, most))
	if err != nil {
		return false, err
	}
	_, body, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
	var health struct {
		Etcd struct {
			Connected bool `json:"connected"`
		} `json:"etcd"`
	}
	if err := json.Unmarshal(body, &health); err != nil {
		return false, fmt.Errorf("its answer on %s: %w", a.Socket, err)
	}
	return health.Etcd.Connected, nil
}
