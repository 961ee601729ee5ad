package doctor_test

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/fairway-cni/fairway/pkg/doctor"
)

// answering makes a node agent that answers one thing.
func (h *host) answering(t *testing.T, health string) {
	t.Helper()
	h.Agent = filepath.Join(t.TempDir(), "agent.sock")
	listener, err := net.Listen("unix", h.Agent)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/health" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, health)
	})}
	done := make(chan error)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close() // the test is over
		<-done
	})
}

func TestAgentHealth(t *testing.T) {
	h := newHost(t)
	h.answering(t, `{"node": "n1", "version": "v1.2.0", "healthy": true, "etcd": {"connected": true}}`)
	h.finds(t, "agent")
	h.answering(t, `{"node": "n1", "version": "v1.1.9", "healthy": false, "problems": ["block 10.42.1.0/24 is full"],
		"etcd": {"endpoints": ["http://192.0.2.5:2379"], "connected": false}}`)
	h.finds(t, "agent", finding{doctor.Error, "fairwayd: block 10.42.1.0/24 is full"},
		finding{doctor.Error, "no connection to etcd (http://192.0.2.5:2379)"}, finding{doctor.Warning, "fairwayd is of release v1.1.9"})
	h.answering(t, `{"node": "n1", "version": "v1.2.0", "healthy": true, "etcd": {"connected": true},
		"unanswered": ["network secret: host n2 does not answer at 192.0.2.12:51840, last handshake: never"]}`)
	h.finds(t, "agent", finding{doctor.Warning, "host n2 does not answer at 192.0.2.12:51840, last handshake: never"})
}
