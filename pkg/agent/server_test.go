package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// One run directory has one agent; the second leaves the first alone.
func TestOneAgentOfADirectory(t *testing.T) {
	dir := t.TempDir()
	first, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockDir(dir); err == nil || !strings.Contains(err.Error(), "another fairwayd runs there") {
		t.Errorf("second agent: error %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSocketIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fairwayd.sock")
	listener, err := listenPrivate(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
}

// Who reaches the metrics' port has so many connections and no more, and none for long that asks for nothing.
func TestConnectionsToMetrics(t *testing.T) {
	testnet.NewHost(t)
	dir := t.TempDir()
	lock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	none := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	s := &server{socket: filepath.Join(dir, "s"), lock: lock, handler: none, only: none, idle: 2 * time.Second}
	if err := s.open("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ctx) }()
	ask := func(within time.Duration) (net.Conn, bool) {
		conn, err := net.Dial("tcp", s.metrics.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(within))
		if _, err := fmt.Fprint(conn, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		n, _ := conn.Read(make([]byte, 100))
		return conn, n > 0
	}
	var first net.Conn
	answered := 0
	for range 2 * scrapesMax {
		conn, ok := ask(300 * time.Millisecond)
		if !ok {
			break
		}
		if first == nil {
			first = conn
		}
		answered++
	}
	if answered > scrapesMax || answered == 0 {
		t.Errorf("%d connections at once", answered)
	}
	_ = first.SetReadDeadline(time.Now().Add(requestMax * 2 / 3)) // without a limit of their own, idle ones have that of a request
	if _, err := io.Copy(io.Discard, first); err != nil {
		t.Errorf("a connection without a request: %v, want it closed", err)
	}
	if _, ok := ask(time.Minute); !ok {
		t.Error("no answer when the others are closed")
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
