package vxlan_test

import (
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/state/vxlan"
)

// listen serves one answer as the node agent.
func listen(t *testing.T, body string) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "agent.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/v1/health" {
			t.Errorf("asked for %s %s", r.Method, r.URL.Path)
		}
		_, _ = w.Write([]byte(body)) // the one who asks says what came
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close() // the listener's end is all that matters
		<-done
	})
	return socket
}

func TestAgentReady(t *testing.T) {
	if err := (vxlan.Agent{Socket: listen(t, `{"node": "a", "etcd": {"connected": true}}`)}).Ready(nil); err != nil {
		t.Errorf("with etcd: %v", err)
	}
	for name, test := range map[string]struct{ socket, want string }{
		"without etcd": {listen(t, `{"node": "a", "etcd": {"connected": false}}`), "no connection to etcd"},
		"no agent":     {listen(t, `hello`), "does not answer"},
		"nobody":       {filepath.Join(t.TempDir(), "none.sock"), "start fairwayd"},
	} {
		t.Run(name, func(t *testing.T) {
			statetest.Fails(t, vxlan.Agent{Socket: test.socket}.Ready(nil), state.ErrLimited, test.want)
		})
	}
}
