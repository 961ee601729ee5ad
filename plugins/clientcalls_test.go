package plugins

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// recorded is what a client calls: rounds one after the other, in each of them chains at once, in each of those calls one after the other.
type recorded struct {
	Client string
	Rounds [][][]recordedCall
}

type recordedCall struct {
	Plugin, Command, Container, IfName, Args string
	// WithoutNetns says that the client gives none.
	WithoutNetns bool
	// PrevResult says that the client passes on what the last ADD of the container on the network has said.
	PrevResult bool
	Conf       map[string]any
}

// TestClientCalls makes the calls of clients that the tests do not run, as they make them: the names of binaries, which are links to ours, the
// order, what is called at once, arguments, versions and which results are passed on. Each call succeeds, and so does each DEL once more;
// containers have what they were given, and in the end nothing is left.
func TestClientCalls(t *testing.T) {
	files, err := filepath.Glob("testdata/calls/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no calls: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var r recorded
			if err := json.Unmarshal(content, &r); err != nil {
				t.Fatal(err)
			}
			newReplay(t).play(t, r)
		})
	}
}

// replay is the host of a client.
type replay struct {
	host       attachment
	bin        string
	containers map[string]*testnet.Namespace
	lock       sync.Mutex
	results    map[string]map[string]any // by container and network
}

func newReplay(t *testing.T) *replay {
	t.Helper()
	return &replay{host: bridgeOn(t, testnet.NewNS(t, "unused")), bin: t.TempDir(), containers: map[string]*testnet.Namespace{}, results: map[string]map[string]any{}}
}

func (r *replay) play(t *testing.T, all recorded) {
	t.Helper()
	for _, round := range all.Rounds {
		r.prepare(t, round)
		r.atOnce(t, round)
		switch round[0][0].Command {
		case "ADD":
			r.wantReachable(t)
		case "DEL":
			r.atOnce(t, round)
		}
	}
	left := r.host.traces(t)
	if len(left.Reservations) > 0 || strings.Contains(left.Rules, `comment "fairway `) || strings.Contains(strings.Join(left.Host, " "), "veth") {
		t.Errorf("left: %+v", left)
	}
	for id, container := range r.containers {
		if diff := cmp.Diff([]string{"lo"}, links(t, container)); diff != "" {
			t.Errorf("links of container %s (-want +got):\n%s", id, diff)
		}
	}
}

// prepare makes the containers of a round, and links to our binaries by the client's names of them.
func (r *replay) prepare(t *testing.T, round [][]recordedCall) {
	t.Helper()
	for _, chain := range round {
		for _, call := range chain {
			if r.containers[call.Container] == nil {
				r.containers[call.Container] = testnet.NewNS(t, "c"+call.Container[len(call.Container)-1:])
			}
			names := []string{call.Plugin}
			if ipam, ok := call.Conf["ipam"].(map[string]any); ok {
				names = append(names, ipam["type"].(string))
				ipam["dataDir"] = r.host.conf["ipam"].(map[string]any)["dataDir"]
			}
			for _, name := range names {
				err := os.Symlink(filepath.Join(binDir, strings.TrimPrefix(name, "buildkit-cni-")), filepath.Join(r.bin, name))
				if err != nil && !os.IsExist(err) {
					t.Fatal(err)
				}
			}
		}
	}
}

func (r *replay) atOnce(t *testing.T, round [][]recordedCall) {
	t.Helper()
	var group sync.WaitGroup
	for _, chain := range round {
		group.Go(func() {
			for _, call := range chain {
				r.call(t, call)
			}
		})
	}
	group.Wait()
}

func (r *replay) call(t *testing.T, call recordedCall) {
	t.Helper()
	key := call.Container + " " + call.Conf["name"].(string)
	a := r.host.withEnv("CNI_CONTAINERID", call.Container).withEnv("CNI_IFNAME", call.IfName).withEnv("CNI_PATH", r.bin).
		withEnv("CNI_NETNS", r.containers[call.Container].Path).withEnv("CNI_ARGS", call.Args)
	if call.WithoutNetns {
		a = a.withEnv("CNI_NETNS", "")
	}
	a.plugin, a.conf = filepath.Join(r.bin, call.Plugin), call.Conf
	if call.PrevResult {
		r.lock.Lock()
		a = a.with("prevResult", r.results[key])
		r.lock.Unlock()
	}
	got := a.run(t, call.Command)
	if got.code != 0 {
		t.Errorf("%s of %s for %s: exit status %d\n%s%s", call.Command, call.Plugin, key, got.code, got.stdout, got.stderr)
		return
	}
	if call.Command != "ADD" {
		return
	}
	var result map[string]any
	if err := json.Unmarshal([]byte(got.stdout), &result); err != nil {
		t.Errorf("%s: %v", key, err)
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	r.results[key] = result
}

// wantReachable expects the host to reach each address of a container, or the container itself one of its loopback.
func (r *replay) wantReachable(t *testing.T) {
	t.Helper()
	for key, result := range r.results {
		id, _, _ := strings.Cut(key, " ")
		for _, ip := range result["ips"].([]any) {
			address, _, _ := strings.Cut(ip.(map[string]any)["address"].(string), "/")
			from := r.host.host
			if strings.HasPrefix(address, "127.") || address == "::1" {
				from = r.containers[id]
			}
			if out, err := from.Command("busybox", "ping", "-c", "1", "-w", "20", address).CombinedOutput(); err != nil {
				t.Errorf("%s of %s is not reached: %v\n%s", address, key, err, out)
			}
		}
	}
}
