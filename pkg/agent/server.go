package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/agentapi"
)

const (
	// bodyMax is more than any definition needs.
	bodyMax = 1 << 20
	// requestMax bounds a request; etcd may be electing a leader.
	requestMax = 12 * time.Second
	// Who reaches the metrics' port gets no more connections than scrapesMax, nor for longer without a request than scrapeIdle:
	// they are descriptors of the agent's.
	scrapesMax = 32
	scrapeIdle = 30 * time.Second
	// shutdownMax is for requests that are under way when the agent ends.
	shutdownMax = 2 * time.Second
)

// server serves the API on a unix socket, and metrics on an address when asked to.
type server struct {
	socket  string
	lock    *os.File // held as long as the agent runs
	api     net.Listener
	metrics net.Listener // nil: not asked for
	handler http.Handler
	only    http.Handler // metrics
	// idle is for how long a connection to them stays without a request.
	idle time.Duration
}

// listen takes the run directory and opens the socket, for root alone. A second agent there is an error.
func (a *Agent) listen() (*server, error) {
	s := &server{socket: agentapi.Socket(a.config.RunDir), handler: a.handler(), only: a.metrics.handler(), idle: scrapeIdle}
	if err := os.MkdirAll(a.config.RunDir, 0o755); err != nil {
		return nil, fmt.Errorf("run-dir: %w", err)
	}
	var err error
	if s.lock, err = lockDir(a.config.RunDir); err != nil {
		return nil, err
	}
	if err := s.open(a.config.MetricsAddress); err != nil {
		_ = s.lock.Close() // nothing was written
		return nil, err
	}
	return s, nil
}

// open opens the socket last: when it is there, the agent runs.
func (s *server) open(metricsAddress string) (err error) {
	if metricsAddress != "" {
		if s.metrics, err = net.Listen("tcp", metricsAddress); err != nil {
			return fmt.Errorf("metrics-address: %w", err)
		}
	}
	if s.api, err = listenPrivate(s.socket); err != nil {
		if s.metrics != nil {
			_ = s.metrics.Close() // the error that matters is the one at hand
		}
		return fmt.Errorf("run-dir: %w", err)
	}
	return nil
}

// lockDir makes this the only agent of a run directory, until it ends however it does.
func lockDir(dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, "fairwayd.lock"), os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("run-dir: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = file.Close() // nothing was written
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("run-dir %s: another fairwayd runs there: stop it, or give this one another directory", dir)
		}
		return nil, fmt.Errorf("run-dir: %w", err)
	}
	return file, nil
}

// lockHost makes this the only agent of the host's network namespace, whatever its directories: two would undo each other's work. An
// abstract socket is the namespace's (unix(7)), and ends with the process.
func lockHost() (net.Listener, error) {
	lock, err := net.Listen("unix", "@fairwayd-agent")
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, errors.New("another fairwayd runs on this host: stop it")
	}
	if err != nil {
		return nil, fmt.Errorf("lock of the host: %w", err)
	}
	return lock, nil
}

// listenPrivate makes a socket that is for root from its first moment: the mode is set before it has its name.
func listenPrivate(path string) (net.Listener, error) {
	aside := path + ".new"
	if err := os.Remove(aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: aside, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false) // it is renamed, and a socket nobody listens on says so
	if err := errors.Join(os.Chmod(aside, 0o600), os.Rename(aside, path)); err != nil {
		_ = listener.Close() // the error that matters is the one at hand
		return nil, err
	}
	return listener, nil
}

// serve answers until the context ends.
func (s *server) serve(ctx context.Context) error {
	defer s.lock.Close()
	api := &http.Server{Handler: s.handler, ReadHeaderTimeout: requestMax, ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn)}
	scrapes := &http.Server{
		Handler: s.only, ReadHeaderTimeout: requestMax, ReadTimeout: requestMax, WriteTimeout: requestMax, IdleTimeout: s.idle, ErrorLog: api.ErrorLog,
	}
	failed := make(chan error, 2)
	go func() { failed <- api.Serve(s.api) }()
	if s.metrics != nil {
		go func() { failed <- scrapes.Serve(netutil.LimitListener(s.metrics, scrapesMax)) }()
	}
	select {
	case err := <-failed:
		return fmt.Errorf("API: %w", err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.Background(), shutdownMax)
	defer cancel()
	if err := errors.Join(api.Shutdown(last), scrapes.Shutdown(last)); err != nil {
		slog.Debug("requests were cut off at the end", "error", err)
	}
	_ = os.Remove(s.socket) // a socket nobody listens on would say the same
	return ctx.Err()
}

// handler is the API, as package agentapi describes it.
func (a *Agent) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /v1/networks/{name}", answer(a.putNetwork))
	mux.HandleFunc("GET /v1/networks/{name}", answer(a.getNetwork))
	mux.HandleFunc("DELETE /v1/networks/{name}", answer(a.deleteNetwork))
	mux.HandleFunc("GET /v1/networks", answer(a.listNetworks))
	mux.HandleFunc("GET /v1/networks/{name}/peers", answer(a.listPeers))
	mux.HandleFunc("PUT /v1/networks/{name}/pins/{address}", answer(a.putPin))
	mux.HandleFunc("PUT /v1/networks/{name}/membership", answer(a.putMembership))
	mux.HandleFunc("DELETE /v1/hosts/{node}", answer(a.deleteHost))
	mux.HandleFunc("POST /v1/key", answer(a.putKey))
	mux.HandleFunc("GET /v1/health", answer(a.getHealth))
	mux.Handle("GET /metrics", a.metrics.handler())
	return http.MaxBytesHandler(mux, bodyMax)
}

// answer makes a handler of a function that gives what is to be written as JSON. Nil is an empty object.
func answer(serve func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestMax)
		defer cancel()
		body, err := serve(r.WithContext(ctx))
		status := http.StatusOK
		if err != nil {
			body, status = agentapi.NewError(err)
		}
		if body == nil {
			body = struct{}{}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(body); err != nil {
			slog.Debug("answer was not read", "request", r.URL.Path, "error", err)
		}
	}
}
