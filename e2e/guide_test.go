package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGuide types what docs/cli.md shows, and compares what comes back.
func TestGuide(t *testing.T) {
	noAddresses(t)
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```console\n(.*?)^```$").FindAllStringSubmatch(string(text), -1)
	if len(blocks) == 0 {
		t.Fatal("the guide shows nothing")
	}
	t.Cleanup(func() { succeed(t, fairway(t, "prune", "--force")) }) // the guide itself removes all
	for _, block := range blocks {
		if diff := cmp.Diff(block[1], typed(t, root, block[1])); diff != "" {
			t.Errorf("(-guide +got):\n%s", diff)
		}
	}
}

// typed runs the commands of a transcript, and gives the transcript anew.
func typed(t *testing.T, root, transcript string) string {
	t.Helper()
	var again strings.Builder
	for line := range strings.Lines(transcript) {
		typed, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			continue
		}
		cmd := command(t, "bash", "-c", typed)
		cmd = with(cmd, "PATH="+filepath.Join(root, "bin")+":"+os.Getenv("PATH"), "NETCONFPATH="+confDir, "CNI_PATH="+pluginDir)
		said, _ := cmd.CombinedOutput() // a failure is among what is shown
		again.WriteString(line)
		again.Write(said)
	}
	return again.String()
}
