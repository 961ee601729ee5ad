package lifecycle

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/blueprint"
	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestMain(m *testing.M) { testnet.Run(m) }

// newHost is a host with stand-ins for the plugins of bridges, which note how they are called.
func newHost(t *testing.T) (h Host, warnings *[]string) {
	t.Helper()
	warnings = new([]string)
	plugins := t.TempDir()
	h = Host{
		Netconf: t.TempDir(), Agent: filepath.Join(t.TempDir(), "agent.sock"),
		Runtime: attachment.Runtime{Cache: t.TempDir(), Plugins: []string{plugins}},
		Warn:    func(err error) { *warnings = append(*warnings, err.Error()) },
	}
	script := `#!/bin/sh
if [ -z "$CNI_COMMAND" ]; then echo "x: CNI plugin of fairway test" >&2; exit; fi
cat >/dev/null
echo "$CNI_COMMAND" >>` + plugins + `/calls
[ "$CNI_COMMAND" = VERSION ] && echo '{"cniVersion": "1.1.0", "supportedVersions": ["1.0.0", "1.1.0"]}'
exit 0
`
	for _, name := range []string{"bridge", "host", "none"} {
		if err := os.WriteFile(filepath.Join(plugins, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return h, warnings
}

// TestConcurrentCreates: each gets a subnet of its own, and one name goes to one of them.
func TestConcurrentCreates(t *testing.T) {
	h, _ := newHost(t)
	var group sync.WaitGroup
	results := make([]error, 12)
	for i := range results {
		group.Go(func() {
			_, results[i] = h.Create(t.Context(), blueprint.Order{Name: fmt.Sprintf("net%d", i/2)})
		})
	}
	group.Wait()
	failed := 0
	for _, err := range results {
		switch {
		case errors.Is(err, conflist.ErrExists):
			failed++
		case err != nil:
			t.Error(err)
		}
	}
	networks, err := conflist.Load(h.Netconf)
	if err != nil || failed != len(results)/2 {
		t.Fatalf("%d failed, %v", failed, err)
	}
	seen := map[netip.Prefix]string{}
	for _, n := range networks.All {
		for _, pool := range n.IPAM.Pools {
			if other := seen[pool.Subnet]; other != "" {
				t.Errorf("%s and %s have the subnet %s", n.Name, other, pool.Subnet)
			}
			seen[pool.Subnet] = n.Name
		}
	}
	if len(seen) != len(results)/2+1 { // the predefined bridge's
		t.Errorf("subnets: got %v", seen)
	}
}

func TestRemoveRefuses(t *testing.T) {
	h, _ := newHost(t)
	base, err := h.Create(t.Context(), blueprint.Order{Name: "base", ConfigOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	lamp, err := h.Create(t.Context(), blueprint.Order{Name: "lamp", ConfigFrom: "base"})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Remove(t.Context(), base); !errors.Is(err, attachment.ErrInUse) || !strings.Contains(err.Error(), "lamp") {
		t.Errorf("a configuration in use: got %v", err)
	}
	none, err := conflist.Predefined("none")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Remove(t.Context(), none); !errors.Is(err, ErrPredefined) {
		t.Errorf("a predefined network: got %v", err)
	}
	for _, n := range []conflist.Network{lamp, base} {
		if err := h.Remove(t.Context(), n); err != nil {
			t.Error(err)
		}
	}
}

// TestRemoveWithoutPlugin: what cannot be asked to clean up must not keep its network for ever.
func TestRemoveWithoutPlugin(t *testing.T) {
	h, warnings := newHost(t)
	path := filepath.Join(h.Netconf, "old.conflist")
	if err := os.WriteFile(path, []byte(`{"cniVersion": "1.1.0", "name": "old", "plugins": [{"type": "weave"}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	networks, err := conflist.Load(h.Netconf)
	if err != nil {
		t.Fatal(err)
	}
	old, err := networks.Find("old")
	if err != nil {
		t.Fatal(err)
	}
	if err := Made(old); !errors.Is(err, ErrForeign) {
		t.Errorf("Made: got %v, want %v", err, ErrForeign)
	}
	if err := h.Remove(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) || len(*warnings) != 1 || !strings.Contains((*warnings)[0], "not installed any more") {
		t.Errorf("got %v, warnings %v", err, *warnings)
	}
}

// agent is a stand-in for fairwayd.
type agent struct {
	netconf string
	inUse   bool
	asked   []string
}

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.asked = append(a.asked, r.Method+" "+r.URL.Path)
	var n agentapi.Network
	switch {
	case r.Method == http.MethodPut:
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		lock, err := conflist.Acquire(a.netconf)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer lock.Release()
		_, err = lock.Replace(conflist.Definition{Name: n.Name, About: conflist.About{Driver: "overlay", Agent: true}, Plugins: []any{
			map[string]any{"type": "overlay-vxlan", "subnet": n.Subnets[0].Prefix},
		}})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	case a.inUse:
		body, status := agentapi.NewError(fmt.Errorf("network wide: host b has containers on it: %w", agentapi.ErrInUse))
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body) // the test reads it
		return
	}
	_ = json.NewEncoder(w).Encode(n) // the test reads it
}

func TestOverlayByAgent(t *testing.T) {
	h, _ := newHost(t)
	a := &agent{netconf: h.Netconf}
	listener, err := net.Listen("unix", h.Agent)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: a}
	go func() { _ = server.Serve(listener) }() // until it is closed
	t.Cleanup(func() { _ = server.Close() })

	wide, err := h.Create(t.Context(), blueprint.Order{Name: "wide", Driver: "overlay", Subnets: []string{"10.42.0.0/16"}})
	if err != nil {
		t.Fatal(err)
	}
	if !wide.Agent || wide.Scope != "global" || wide.ID != conflist.IDOf("wide") {
		t.Errorf("got %+v", wide)
	}
	a.inUse = true
	if err := h.Remove(t.Context(), wide); !errors.Is(err, attachment.ErrInUse) || !strings.Contains(err.Error(), "host b") {
		t.Errorf("in use on another host: got %v", err)
	}
	if removed, err := h.Prune(t.Context(), PruneFilter{}); err != nil || len(removed) > 0 {
		t.Errorf("prune: got %v, %v", removed, err)
	}
	a.inUse = false
	if err := h.Remove(t.Context(), wide); err != nil {
		t.Fatal(err)
	}
	want := []string{"PUT /v1/networks/wide", "DELETE /v1/networks/wide", "DELETE /v1/networks/wide", "DELETE /v1/networks/wide"}
	if diff := cmp.Diff(want, a.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}
