package attach

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) { testnet.Run(m) }

// mine is an object of the test that panics where it is told to, and that an ADD makes before or after others.
type mine struct {
	state.Attribute
	panics string
}

func (mine) String() string { return "mine" }

func (m mine) at(method string) error {
	if m.panics == method {
		var none []int
		_ = none[len(method)]
	}
	return nil
}

func (m mine) Ensure(*kernel.Kernel) (bool, error) { return true, m.at("ensure") }
func (m mine) Verify(*kernel.Kernel) error         { return m.at("verify") }
func (m mine) Remove(*kernel.Kernel) error         { return m.at("remove") }
func (m mine) Ready(*kernel.Kernel) error          { return m.at("ready") }
func (m mine) Free(*kernel.Kernel) error           { return m.at("free") }

// panicking is a mode with a veth, which panics at one place.
func panicking(place string) mode[string] {
	object := mine{panics: place}
	return mode[string]{Mode[string]{
		Parse:   func(stdin []byte, _ Env) (string, error) { return string(stdin), object.at("parse") },
		Resolve: func(c string, _ *Kernel) (string, error) { return c, object.at("resolve") },
		Plan: func(_ string, r Request, l Lease) (state.Set, Result) {
			_ = object.at("plan")
			if len(l.IPs) > 0 {
				_ = object.at("plan with a lease")
			}
			veth := state.Veth{Owner: r.Owner, MAC: r.MAC(nil)}
			set := state.Set{veth, object}
			set = append(set, ContainerLink{Name: r.Owner.IfName}.Configure(l)...)
			if len(l.IPs) > 0 {
				set = append(set, mine{panics: strings.TrimSuffix(place, " with a lease")})
			}
			return set, Result{Lease: l, Interfaces: []Interface{{Name: r.Owner.IfName, In: state.Container}}}
		},
	}}
}

// TestPanics: wherever a mode panics, each verb answers one document with code 999, and an ADD leaves nothing: no link, and no
// address of a plugin that is executed, or of host-local.
func TestPanics(t *testing.T) {
	for _, ipam := range []string{"host-local", "recorder"} {
		for _, verb := range []string{"ADD", "CHECK", "DEL", "STATUS"} {
			for _, place := range []string{"parse", "resolve", "plan", "plan with a lease", "free", "ensure", "ensure with a lease", "verify", "remove", "ready"} {
				t.Run(strings.Join([]string{ipam, verb, place}, " "), func(t *testing.T) {
					p := newPanic(t, ipam)
					code, document := p.call(t, verb, place)
					if code == 0 {
						if verb == "ADD" {
							p.call(t, "DEL", "nowhere")
						}
						p.wantNothing(t, verb)
						return
					}
					if document.Code == cnierr.Drift && verb == "CHECK" {
						return // nothing was added
					}
					if document.Code != cnierr.Internal || !strings.Contains(document.Msg, "bug in attach/panic_test.go:") {
						t.Errorf("got %+v, want code 999 and the place", document)
					}
					p.wantNothing(t, verb)
				})
			}
		}
	}
}

// panicHost is a host with a container, and an IPAM plugin that counts what it has handed out.
type panicHost struct {
	dir, ipam string
	container *testnet.Namespace
}

// recorder keeps a file for each address.
const recorder = `#!/bin/sh
cd "$(dirname "$0")"
case $CNI_COMMAND in
ADD) touch held; echo '{"cniVersion": "1.1.0", "ips": [{"address": "10.7.0.2/24"}]}' ;;
DEL) rm -f held ;;
esac
`

func newPanic(t *testing.T, ipam string) panicHost {
	t.Helper()
	testnet.NewHost(t)
	p := panicHost{t.TempDir(), ipam, testnet.NewNS(t, "c")}
	if err := os.WriteFile(filepath.Join(p.dir, "recorder"), []byte(recorder), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"CNI_CONTAINERID": "c", "CNI_IFNAME": "eth0", "CNI_NETNS": p.container.Path, "CNI_PATH": p.dir, "CNI_ARGS": "",
	} {
		t.Setenv(name, value)
	}
	return p
}

type errorDocument struct {
	CNIVersion string
	Code       uint
	Msg        string
}

func (p panicHost) call(t *testing.T, verb, place string) (int, errorDocument) {
	t.Helper()
	t.Setenv("CNI_COMMAND", verb)
	stdin := fmt.Sprintf(`{"cniVersion": "1.1.0", "name": "net", "ipam": {"type": %q, "subnet": "10.7.0.0/24", "dataDir": %q},
		"prevResult": {"cniVersion": "1.1.0", "ips": [{"address": "10.7.0.2/24"}]}}`, p.ipam, filepath.Join(p.dir, "data"))
	if verb == "ADD" || verb == "STATUS" {
		stdin = stdin[:strings.Index(stdin, `"prevResult"`)] + `"x": 0}`
	}
	var stdout, stderr bytes.Buffer
	code := run("test", panicking(place), strings.NewReader(stdin), &stdout, &stderr)
	var document errorDocument
	if code == 0 {
		return 0, document
	}
	decoder := json.NewDecoder(&stdout)
	if err := decoder.Decode(&document); err != nil || decoder.More() {
		t.Fatalf("%s: no single document (%v) beside\n%s", verb, err, stderr.String())
	}
	return code, document
}

func (p panicHost) wantNothing(t *testing.T, verb string) {
	t.Helper()
	links := p.container.Sh(t, "ip", "-o", "link")
	if verb != "CHECK" && strings.Contains(links, "eth0") {
		t.Errorf("left in the container: %s", links)
	}
	if _, err := os.Stat(filepath.Join(p.dir, "held")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the plugin's address is held still")
	}
	held, _ := filepath.Glob(filepath.Join(p.dir, "data/net/10.*"))
	if diff := cmp.Diff([]string(nil), held); diff != "" {
		t.Errorf("reserved (-want +got):\n%s", diff)
	}
}
