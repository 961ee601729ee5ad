// Package agentapi is the API of the node agent fairwayd: HTTP and JSON on a unix socket that belongs to root.
//
//	PUT    /v1/networks/{name}                 makes a network (Network → Network); the same again is a success
//	GET    /v1/networks/{name}                 its definition (→ Network)
//	DELETE /v1/networks/{name}                 removes it, unless a host has containers on it
//	GET    /v1/networks                        all (→ []Network, by name)
//	GET    /v1/networks/{name}/peers           its hosts (→ []Peer, by name)
//	PUT    /v1/networks/{name}/membership      makes this host a member, and waits until it can give out addresses
//	PUT    /v1/networks/{name}/pins/{address}  gives an attachment an address of any block (Pin →)
//	DELETE /v1/hosts/{node}                    takes everything from a host that is gone for good
//	POST   /v1/key                             begins to replace this host's key for encrypted networks (→ Rotation)
//	GET    /v1/health                          how the agent fares (→ Health)
//	GET    /metrics                            the same for Prometheus
//
// The package links no etcd, so that the command line can use it.
package agentapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultRunDir is where fairwayd has its socket unless told otherwise.
const DefaultRunDir = "/run/fairway"

// Socket is the path of the API in a run directory of fairwayd.
func Socket(runDir string) string { return filepath.Join(runDir, "fairwayd.sock") }

// timeout is enough for an etcd that elects a leader meanwhile.
const timeout = 15 * time.Second

// Client talks to the agent of this host. Its errors are those of the package.
type Client struct {
	socket string
	http   http.Client
}

// New makes a client for the agent on a socket. It connects when asked for something.
func New(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &Client{socket: socket, http: http.Client{
		Timeout:   timeout,
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true},
	}}
}

// Put makes a network, and gives it back with what was chosen for it. Errors: ErrInvalid, ErrExists, ErrUnavailable,
// ErrNoAgent.
func (c *Client) Put(ctx context.Context, n Network) (Network, error) {
	var made Network
	err := c.call(ctx, http.MethodPut, networkPath(n.Name), n, &made)
	return made, err
}

// Network is the definition of a network. Errors: ErrNotFound, ErrNoAgent.
func (c *Client) Network(ctx context.Context, name string) (Network, error) {
	var n Network
	err := c.call(ctx, http.MethodGet, networkPath(name), nil, &n)
	return n, err
}

// Networks are all overlay networks, sorted by name. Error: ErrNoAgent.
func (c *Client) Networks(ctx context.Context) ([]Network, error) {
	var all []Network
	err := c.call(ctx, http.MethodGet, "/v1/networks", nil, &all)
	return all, err
}

// Delete removes a network from all hosts. Errors: ErrNotFound, ErrInUse (which names the hosts), ErrUnavailable,
// ErrNoAgent.
func (c *Client) Delete(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, networkPath(name), nil, nil)
}

// Peers are the hosts of a network, sorted by name. Errors: ErrNotFound, ErrNoAgent.
func (c *Client) Peers(ctx context.Context, name string) ([]Peer, error) {
	var peers []Peer
	err := c.call(ctx, http.MethodGet, networkPath(name)+"/peers", nil, &peers)
	return peers, err
}

// Pin gives an attachment of this host an address that may lie outside the host's blocks; to be called before the ADD
// that asks for the address. Errors: ErrInvalid, ErrInUse (somebody has the address), ErrNotFound, ErrUnavailable,
// ErrNoAgent.
func (c *Client) Pin(ctx context.Context, network string, p Pin) error {
	return c.call(ctx, http.MethodPut, pinPath(network, p.Address), p, nil)
}

// Join makes this host a member of a network, as its first container does, and waits until it can give out addresses there. It
// stays one for a while. Errors: ErrNotFound, ErrUnavailable, ErrNoAgent.
func (c *Client) Join(ctx context.Context, network string) error {
	return c.call(ctx, http.MethodPut, networkPath(network)+"/membership", nil, nil)
}

// Forget takes everything from a host that is gone for good, so that others can have its addresses. Errors: ErrInUse while it is
// alive, ErrNotFound, ErrUnavailable, ErrNoAgent.
func (c *Client) Forget(ctx context.Context, node string) error {
	return c.call(ctx, http.MethodDelete, "/v1/hosts/"+url.PathEscape(node), nil, nil)
}

// RotateKey begins to replace this host's key for encrypted networks. Health tells how far it is. Errors: ErrInUse while this host or
// another replaces its key, ErrNotFound without a key, ErrUnavailable, ErrNoAgent.
func (c *Client) RotateKey(ctx context.Context) (Rotation, error) {
	var r Rotation
	err := c.call(ctx, http.MethodPost, "/v1/key", nil, &r)
	return r, err
}

// Health is how the agent fares. Error: ErrNoAgent.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var h Health
	err := c.call(ctx, http.MethodGet, "/v1/health", nil, &h)
	return h, err
}

func networkPath(name string) string { return "/v1/networks/" + url.PathEscape(name) }

func pinPath(network string, addr netip.Addr) string {
	return networkPath(network) + "/pins/" + url.PathEscape(addr.String())
}

// call sends a request and reads the answer into out, unless that is nil.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://fairwayd"+path, body)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return c.unreachable(err)
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	if response.StatusCode >= http.StatusMultipleChoices {
		return readError(response)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(response.Body).Decode(out); err != nil {
		return fmt.Errorf("answer of fairwayd on %s: %w", c.socket, err)
	}
	return nil
}

// unreachable says what to do when nobody listens.
func (c *Client) unreachable(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("%w: nobody listens on %s, start it by `systemctl start fairwayd`", ErrNoAgent, c.socket)
	}
	return fmt.Errorf("fairwayd on %s: %w", c.socket, err)
}

func readError(response *http.Response) error {
	var e Error
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil || json.Unmarshal(text, &e) != nil || e.Sentence == "" {
		return fmt.Errorf("fairwayd answered %s: %s", response.Status, bytes.TrimSpace(text))
	}
	return e
}
