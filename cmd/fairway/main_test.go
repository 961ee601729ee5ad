package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/hostlocal"
	"github.com/fairway-cni/fairway/pkg/sandbox"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestMain(m *testing.M) {
	sandbox.Enter()
	flag.Parse()
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "fairway:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func prepare() error {
	if err := testnet.Isolate(); err != nil {
		return err
	}
	return errors.Join(testnet.BuildPlugins("../../plugins/bridge", "../../plugins/macvlan"), testnet.BuildCommands("../fairwayd"))
}

// shell is a command line of fairway with a netconf directory of its own.
type shell struct{ dir string }

func newShell(t *testing.T) shell {
	t.Helper()
	return shell{dir: t.TempDir()}
}

// network writes a bridge network into the netconf directory, and removes the bridge and the directories of its addresses after the
// test: a network without a file is something that gc finds.
func (s shell) network(t *testing.T, name, subnets string) {
	t.Helper()
	conf := fmt.Sprintf(`{"cniVersion": "1.1.0", "name": %q, "plugins": [{"type": "bridge", "bridge": %q, "isDefaultGateway": true,
		"ipam": {"type": "host-local", "ranges": %s}}]}`, name, name+"0", subnets)
	if err := os.WriteFile(filepath.Join(s.dir, name+".conflist"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = exec.Command("ip", "link", "del", name+"0").Run() // a test need not attach to it
		for _, dir := range []string{name, ".fairway/" + name} {
			if err := os.RemoveAll(filepath.Join(hostlocal.DefaultDataDir, dir)); err != nil {
				t.Error(err)
			}
		}
	})
}

// run gives what a command line prints on both outputs, and its exit status.
func (s shell) run(args ...string) (stdout, stderr string, status int) {
	var out, err bytes.Buffer
	e := &env{stdin: strings.NewReader(""), stdout: &out, stderr: &err}
	args = append([]string{"--netconf-dir", s.dir, "--cni-path", testnet.PluginDir}, args...)
	status = run(e, args)
	return out.String(), err.String(), status
}

// succeed runs a command line that has to, and gives what it prints.
func (s shell) succeed(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, status := s.run(args...)
	if status != 0 || stderr != "" {
		t.Fatalf("fairway %s: status %d\n%s%s", strings.Join(args, " "), status, stdout, stderr)
	}
	return stdout
}

// fail runs a command line that must not succeed, and compares what it says.
func (s shell) fail(t *testing.T, want string, args ...string) {
	t.Helper()
	stdout, stderr, status := s.run(args...)
	if got := strings.TrimSpace(stderr); status == 0 || stdout != "" || got != want {
		t.Errorf("fairway %s: status %d, output %q\ngot  %s\nwant %s", strings.Join(args, " "), status, stdout, got, want)
	}
}
