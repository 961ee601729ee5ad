package plugins

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// attachment is what a runtime knows of one interface: where it goes, the network's configuration, and the environment.
// Its methods leave it as it is.
type attachment struct {
	host   *testnet.Namespace
	plugin string
	conf   map[string]any
	env    map[string]string
	// beneath is the attachment that one of a chained plugin needs afresh for each ADD. Nil: it needs none.
	beneath *attachment
}

// with gives the attachment other keys. A nil value removes the key.
func (a attachment) with(key string, value any) attachment {
	a.conf = maps.Clone(a.conf)
	a.conf[key] = value
	if value == nil {
		delete(a.conf, key)
	}
	return a
}

// withEnv gives the attachment another variable of the environment. An empty value removes it.
func (a attachment) withEnv(name, value string) attachment {
	a.env = maps.Clone(a.env)
	a.env[name] = value
	if value == "" {
		delete(a.env, name)
	}
	return a
}

// on gives the attachment another container and interface. A container's ID is what the test called its namespace.
func (a attachment) on(container *testnet.Namespace, ifname string) attachment {
	id := container.Path[strings.LastIndexByte(container.Path, '-')+1:]
	return a.withEnv("CNI_NETNS", container.Path).withEnv("CNI_CONTAINERID", id).withEnv("CNI_IFNAME", ifname)
}

// answer is what a plugin said.
type answer struct {
	stdout, stderr string
	code           int
}

func (a attachment) stdin(t *testing.T) string {
	t.Helper()
	stdin, err := json.Marshal(a.conf)
	if err != nil {
		t.Fatal(err)
	}
	return string(stdin)
}

func (a attachment) run(t *testing.T, verb string) answer {
	t.Helper()
	return a.runWith(t, verb, a.stdin(t))
}

// runWith runs a verb with any text on standard input.
func (a attachment) runWith(t *testing.T, verb, stdin string) answer {
	t.Helper()
	var stdout, stderr strings.Builder
	cmd := a.command(verb, stdin)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return answer{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func (a attachment) command(verb, stdin string) *exec.Cmd {
	path := a.plugin
	if !filepath.IsAbs(path) {
		path = filepath.Join(binDir, path)
	}
	cmd := a.host.Command(path)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(cmd.Environ(), "CNI_COMMAND="+verb)
	for name, value := range a.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// succeed runs a verb that prints nothing when it succeeds.
func (a attachment) succeed(t *testing.T, verb string) {
	t.Helper()
	got := a.run(t, verb)
	if got.code != 0 || got.stdout != "" {
		t.Fatalf("%s: exit status %d\n%s%s", verb, got.code, got.stdout, got.stderr)
	}
}

// add runs ADD and reads its result, whatever version it is of.
func (a attachment) add(t *testing.T) *types100.Result {
	t.Helper()
	got := a.run(t, "ADD")
	if got.code != 0 {
		t.Fatalf("ADD: exit status %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	result := &types100.Result{}
	decodeOne(t, got.stdout, result)
	return result
}

// after is the attachment with the result of its ADD, as CHECK and DEL get it.
func (a attachment) after(result *types100.Result) attachment { return a.with("prevResult", result) }

// fail runs a verb that has to fail with a code, and gives back the sentence.
func (a attachment) fail(t *testing.T, verb string, code uint) string {
	t.Helper()
	return wantError(t, a.run(t, verb), code, a.conf["cniVersion"].(string))
}

// wantError expects one JSON document with the version of the caller.
func wantError(t *testing.T, got answer, code uint, version string) string {
	t.Helper()
	if got.code == 0 {
		t.Fatalf("succeeded\n%s%s", got.stdout, got.stderr)
	}
	var document struct {
		CNIVersion string
		types.Error
	}
	decodeOne(t, got.stdout, &document)
	if document.CNIVersion != version || document.Code != code {
		t.Errorf("got code %d in cniVersion %s, want %d in %s: %s", document.Code, document.CNIVersion, code, version, document.Msg)
	}
	return document.Msg
}

// decodeOne expects exactly one JSON document.
func decodeOne(t *testing.T, text string, into any) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("standard output: %v\n%s", err, text)
	}
	if err := decoder.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		t.Fatalf("more than one document on standard output:\n%s", text)
	}
}

// wantText compares two texts.
func wantText(t *testing.T, what, want, got string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
