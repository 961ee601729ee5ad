package vxlan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Agent is the node agent that keeps a network's peers up to date. Attaching works without it, on what it knew last.
type Agent struct {
	state.Attribute
	// Socket is where it listens.
	Socket string
	// Network is whose problems matter.
	Network string
}

var _ state.Readier = Agent{}

func (a Agent) String() string { return "# the node agent listens on " + a.Socket }

// Ensure has nothing to make.
func (Agent) Ensure(*kernel.Kernel) (bool, error) { return false, nil }

// Verify has nothing to look at: what the agent keeps is verified by itself.
func (Agent) Verify(*kernel.Kernel) error { return nil }

const (
	// agentTimeout is for an answer that needs nothing but the agent itself.
	agentTimeout = 2 * time.Second
	// joinTimeout is for one that needs etcd, which may be electing a leader; the agent gives up before.
	joinTimeout = 15 * time.Second
)

// Ready says whether the agent listens, and follows its store. The error wraps ErrLimited.
func (a Agent) Ready(*kernel.Kernel) error {
	var health struct {
		Problems []string `json:"problems"`
		Etcd     struct {
			Connected bool `json:"connected"`
		} `json:"etcd"`
	}
	_, err := a.ask("GET", "/v1/health?network="+url.QueryEscape(a.Network), agentTimeout, &health)
	switch {
	case err != nil:
		return fmt.Errorf("the node agent does not answer, %w: hosts that come and go are not noticed, start fairwayd: %w", state.ErrLimited, err)
	case !health.Etcd.Connected:
		return fmt.Errorf("the node agent has no connection to etcd, %w: hosts that come and go are not noticed, its log says why", state.ErrLimited)
	case len(health.Problems) > 0:
		return fmt.Errorf("the node agent is not healthy, %w: %s", state.ErrLimited, strings.Join(health.Problems, "; "))
	}
	return nil
}

// Join makes this host a member of a network, and waits for that. The error says why it cannot be.
func (a Agent) Join(network string) error {
	var refusal struct {
		Sentence string `json:"error"`
	}
	ok, err := a.ask("PUT", "/v1/networks/"+url.PathEscape(network)+"/membership", joinTimeout, &refusal)
	if err != nil {
		return noAnswer(err)
	}
	if !ok {
		return errors.New(refusal.Sentence)
	}
	return nil
}

// Answers says whether anybody listens that a first container can ask for a block. The error says why not.
func (a Agent) Answers() error {
	var health struct{}
	if _, err := a.ask("GET", "/v1/health?network="+url.QueryEscape(a.Network), agentTimeout, &health); err != nil {
		return noAnswer(err)
	}
	return nil
}

func noAnswer(err error) error {
	return fmt.Errorf("the node agent does not answer, start fairwayd: %w", err)
}

// ask sends a request to the agent (package agentapi), and says whether it was a success. A plugin does without net/http, whose
// initialization each call would pay for; HTTP 1.0 ends an answer with the connection (RFC 1945, 7.2.2).
func (a Agent) ask(method, path string, within time.Duration, answer any) (ok bool, err error) {
	conn, err := net.DialTimeout("unix", a.Socket, agentTimeout)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }() // all has been read
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		return false, err
	}
	if _, err := conn.Write([]byte(method + " " + path + " HTTP/1.0\r\nHost: fairwayd\r\n\r\n")); err != nil {
		return false, err
	}
	const most = 1 << 20
	text, err := io.ReadAll(io.LimitReader(conn, most))
	if err != nil {
		return false, err
	}
	head, body, _ := bytes.Cut(text, []byte("\r\n\r\n"))
	_, status, _ := bytes.Cut(head, []byte(" "))
	if err := json.Unmarshal(body, answer); err != nil {
		return false, fmt.Errorf("its answer on %s: %w", a.Socket, err)
	}
	return bytes.HasPrefix(status, []byte("2")), nil
}
