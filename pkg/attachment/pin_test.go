package attachment

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/agentapi"
)

func TestPin(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "agent.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		var p agentapi.Pin
		if err := json.Unmarshal(body, &p); err != nil {
			t.Error(err)
		}
		asked = append(asked, r.Method+" "+r.URL.Path+" "+p.ContainerID+" "+p.IfName)
	})}
	done := make(chan error)
	go func() { done <- server.Serve(listener) }()
	defer func() {
		server.Close()
		<-done
	}()

	network := networkOf(t, "wide", "")
	request := Request{ID: "c1", IfName: "eth0", IPs: []netip.Addr{netip.MustParseAddr("10.42.9.9"), netip.MustParseAddr("fd42::9")}}
	for _, conf := range []string{
		`{"type": "bridge", "agent": "` + socket + `"}`, `{"type": "overlay-vxlan"}`, `{"type": "overlay-vxlan", "agent": 1}`,
	} {
		network.Plugins[0].Bytes = []byte(conf)
		if err := pin(t.Context(), network, request); err != nil || len(asked) > 0 {
			t.Errorf("%s: asked %v, %v", conf, asked, err)
		}
	}
	network.Plugins[0].Bytes = []byte(`{"type": "overlay-vxlan", "agent": "` + socket + `"}`)
	if err := pin(t.Context(), network, request); err != nil {
		t.Fatal(err)
	}
	want := []string{"PUT /v1/networks/wide/pins/10.42.9.9 c1 eth0", "PUT /v1/networks/wide/pins/fd42::9 c1 eth0"}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
