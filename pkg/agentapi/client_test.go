package agentapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// answer serves one kind of answer on a socket, and records what was asked.
type answer struct {
	status int
	body   any
	asked  string
	sent   string
}

func (a *answer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sent, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	a.asked, a.sent = r.Method+" "+r.URL.EscapedPath(), string(sent)
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.body) // the client under test says what it got
}

func (a *answer) serve(t *testing.T) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "agent.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: a}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return New(socket)
}

var blue = Network{
	Name:    "blue",
	Subnets: []Subnet{{Prefix: netip.MustParsePrefix("10.42.0.0/16"), BlockLength: 26}},
	VNI:     4096, IPMasq: true, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
}

func TestPut(t *testing.T) {
	a := &answer{status: http.StatusOK, body: blue}
	asked := blue
	asked.VNI, asked.Created = 0, time.Time{}
	got, err := a.serve(t).Put(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(blue, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("network (-want +got):\n%s", diff)
	}
	if want := "PUT /v1/networks/blue"; a.asked != want {
		t.Errorf("asked %q, want %q", a.asked, want)
	}
	if want := `{"name":"blue","subnets":[{"prefix":"10.42.0.0/16","blockLength":26}],"ipMasq":true}`; a.sent != want {
		t.Errorf("sent %s, want %s", a.sent, want)
	}
}

func TestPaths(t *testing.T) {
	a := &answer{status: http.StatusOK, body: nil}
	c := a.serve(t)
	for _, test := range []struct {
		call func(ctx context.Context) error
		want string
	}{
		{func(ctx context.Context) error { _, err := c.Network(ctx, "a/b"); return err }, "GET /v1/networks/a%2Fb"},
		{func(ctx context.Context) error { _, err := c.Networks(ctx); return err }, "GET /v1/networks"},
		{func(ctx context.Context) error { return c.Delete(ctx, "blue") }, "DELETE /v1/networks/blue"},
		{func(ctx context.Context) error { _, err := c.Peers(ctx, "blue"); return err }, "GET /v1/networks/blue/peers"},
		{func(ctx context.Context) error {
			return c.Pin(ctx, "blue", Pin{Address: netip.MustParseAddr("fd00::1")})
		},
			"PUT /v1/networks/blue/pins/fd00::1"},
		{func(ctx context.Context) error { _, err := c.Health(ctx); return err }, "GET /v1/health"},
	} {
		if err := test.call(t.Context()); err != nil {
			t.Errorf("%s: %v", test.want, err)
		}
		if a.asked != test.want {
			t.Errorf("asked %q, want %q", a.asked, test.want)
		}
	}
}

func TestErrorsKeepTheirKind(t *testing.T) {
	for _, kind := range []error{ErrInvalid, ErrNotFound, ErrExists, ErrInUse, ErrUnavailable} {
		body, status := NewError(fmt.Errorf("network blue: %w", kind))
		a := &answer{status: status, body: body}
		err := a.serve(t).Delete(t.Context(), "blue")
		if !errors.Is(err, kind) {
			t.Errorf("error %v, want one that is %v", err, kind)
		}
		if want := "network blue: " + kind.Error(); err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestUnknownErrors(t *testing.T) {
	body, status := NewError(errors.New("disk full"))
	if status != http.StatusInternalServerError || body.Kind != "internal" {
		t.Errorf("got kind %q and status %d", body.Kind, status)
	}
	a := &answer{status: http.StatusBadGateway, body: "not an error of ours"}
	want := `fairwayd answered 502 Bad Gateway: "not an error of ours"`
	if err := a.serve(t).Delete(t.Context(), "blue"); err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
}

func TestNoAgent(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale.sock")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	for _, socket := range []string{filepath.Join(dir, "none.sock"), stale} {
		if _, err := New(socket).Health(t.Context()); !errors.Is(err, ErrNoAgent) {
			t.Errorf("%s: error %v, want one that is ErrNoAgent", filepath.Base(socket), err)
		}
	}
}
