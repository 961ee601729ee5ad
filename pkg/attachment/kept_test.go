package attachment

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/liveness"
	"github.com/fairway-cni/fairway/pkg/state/ports"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestPortsComeBack: what a runtime published on a network is published again when its container is connected to it again, whatever ID it is
// given then, and nothing else is: not of another container, network, or request with ports of its own.
func TestPortsComeBack(t *testing.T) {
	const mappings = `[{"containerPort":80,"hostIP":"192.0.2.1","hostPort":8080},{"containerPort":53,"hostPort":5353,"protocol":"UDP"}]`
	p, r := newPlugin(t)
	own := []ports.Port{{HostPort: 9000, ContainerPort: 90, Protocol: unix.IPPROTO_TCP}}
	ns, other := testnet.NewNS(t, "c"), testnet.NewNS(t, "d")
	network := networkOf(t, "lamp", `, "capabilities": {"portMappings": true}`)
	chained := networkOf(t, "lamp", `}, {"type": "noting", "capabilities": {"portMappings": true}`)
	p.answers(t, answerWith(ns, "10.9.0.7/24", "02:00:00:00:00:07"), 0)

	r.record(t, entry{
		ContainerID: "1f2e", NetworkName: "lamp", IfName: "eth0", Netns: ns.Path, Config: chained.Bytes,
		CapabilityArgs: map[string]any{"portMappings": json.RawMessage(mappings)},
	})
	disconnect(t, r)
	for _, step := range []struct {
		name    string
		request Request
		want    string
	}{
		{"another container", Request{ID: "3a4b", Netns: other.Path}, ""},
		{"the container", Request{ID: "pid-77", Netns: ns.Path}, mappings},
		{"the container once more, from its new record", Request{ID: "1f2e", Netns: ns.Path}, mappings},
		{"with ports of its own", Request{ID: "1f2e", Netns: ns.Path, Ports: own}, `[{"containerPort":90,"hostPort":9000,"protocol":"tcp"}]`},
		{"and again", Request{ID: "1f2e", Netns: ns.Path}, `[{"containerPort":90,"hostPort":9000,"protocol":"tcp"}]`},
	} {
		attach(t, r, chained, step.request)
		if got := published(t, p); got != step.want {
			t.Errorf("%s: published %s, want %s", step.name, got, step.want)
		}
		disconnect(t, r)
	}

	// The plugin publishes itself, and has nothing published: all was taken back.
	attach(t, r, network, Request{ID: "1f2e", Netns: ns.Path, Ports: own})
	disconnect(t, r)
	attach(t, r, network, Request{ID: "1f2e", Netns: ns.Path})
	if got := published(t, p); got != "" {
		t.Errorf("what was taken back is published again: %s", got)
	}
}

// TestKeptPortsAreForgotten when their container has gone.
func TestKeptPortsAreForgotten(t *testing.T) {
	_, r := newPlugin(t)
	ns := testnet.NewNS(t, "c")
	mark, err := liveness.MarkAt(ns.Path)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]kept{
		"gone":    {Netns: filepath.Join(t.TempDir(), "none"), Mark: mark.String()},
		"another": {Netns: ns.Path, Mark: "boot:1:2:3:4:5"},
		"there":   {Netns: ns.Path, Mark: mark.String()},
	}
	dir := filepath.Join(r.dir(), keptDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, file := range files {
		content, err := json.Marshal(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r.forgetGone()
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if diff := cmp.Diff([]string{filepath.Join(dir, "there")}, left); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// disconnect takes the one attachment that there is away.
func disconnect(t *testing.T, r Runtime) {
	t.Helper()
	all, err := r.List()
	if err != nil || len(all) != 1 {
		t.Fatalf("attachments: %v, %v", all, err)
	}
	if err := r.Disconnect(t.Context(), all[0]); err != nil {
		t.Fatal(err)
	}
}

// published is the ports that the plugin was asked for by the last ADD.
func published(t *testing.T, p plugin) string {
	t.Helper()
	var conf struct {
		RuntimeConfig struct{ PortMappings json.RawMessage }
	}
	if err := json.Unmarshal([]byte(p.read(t, "stdin.ADD")), &conf); err != nil {
		t.Fatal(err)
	}
	return string(conf.RuntimeConfig.PortMappings)
}
