package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestIgnoredSignals: a command whose caller ignores a signal (nohup) is not interrupted by it, also while a plugin runs.
func TestIgnoredSignals(t *testing.T) {
	dir := t.TempDir()
	running, goOn := filepath.Join(dir, "running"), filepath.Join(dir, "go-on")
	plugin := fmt.Sprintf(`#!/bin/bash
cat >/dev/null
case $CNI_COMMAND in
VERSION) echo '{"cniVersion": "1.0.0", "supportedVersions": ["1.0.0"]}' ;;
ADD) touch %s; until [[ -e %s ]]; do sleep 0.01; done; echo '{"cniVersion": "1.0.0"}' ;;
esac
`, running, goOn)
	conf := `{"cniVersion": "1.0.0", "name": "slow", "plugins": [{"type": "slow"}]}`
	for path, text := range map[string]string{filepath.Join(pluginDir, "slow"): plugin, filepath.Join(confDir, "slow.conflist"): conf} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(path) })
	}
	ref := "netns:" + testnet.NewNS(t, "box").Path
	cmd := fairway(t, "connect", "slow", ref)
	cmd.Args = append([]string{"bash", "-c", `trap '' HUP INT; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/bash"
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(commandLimit); time.Now().Before(end) && len(glob(running)) == 0; {
		time.Sleep(10 * time.Millisecond)
	}
	for _, s := range []unix.Signal{unix.SIGHUP, unix.SIGINT} {
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(300 * time.Millisecond) // more than a command needs to hear a signal
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	succeed(t, fairway(t, "disconnect", "slow", ref))
}
