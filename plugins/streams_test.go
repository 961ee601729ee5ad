package plugins

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// nobody is a pipe that nobody reads any more.
func nobody(t *testing.T) *os.File {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = reader.Close() // which is the point
	t.Cleanup(func() { _ = writer.Close() })
	return writer
}

// TestStreamsEndNoCall: whatever becomes of a plugin's standard streams, it ends by itself; an attachment that its runtime
// does not hear of is taken back. The debug log makes the plugin write all along.
func TestStreamsEndNoCall(t *testing.T) {
	for name, on := range everyPlugin() {
		for _, tt := range []struct {
			name, script string // the script runs the plugin, which is its name
			add          int    // exit status of ADD, -1 for any
		}{
			{"nobody reads standard error", `exec "$0" 2>&3`, 0},
			{"standard error is closed", `exec "$0" 2>&-`, 0},
			{"standard error is full", `exec "$0" 2>/dev/full`, 0},
			{"nobody reads standard output", `exec "$0" >&3`, 1},
			{"nobody reads either", `exec "$0" >&3 2>&1`, 1},
			{"standard output is closed", `exec "$0" >&-`, -1},
			{"standard output is full", `exec "$0" >/dev/full`, 1},
			{"one line of both is read", `"$0" 2>&1 | head -1; exit ${PIPESTATUS[0]}`, -1},
		} {
			t.Run(name+" "+tt.name, func(t *testing.T) {
				a := on(t)
				a.add(t)
				a.succeed(t, "DEL")
				a = a.afresh(t)
				before := a.traces(t).withoutTables()
				a = a.withEnv("FAIRWAY_LOG", "debug")
				status := a.runBy(t, tt.script, "ADD")
				if status < 0 || status > 1 || tt.add >= 0 && status != tt.add {
					t.Errorf("ADD: exit status %d, want %d", status, tt.add)
				}
				if status == 0 {
					if status := a.runBy(t, tt.script, "DEL"); status != 0 {
						t.Errorf("DEL: exit status %d", status)
					}
				}
				if diff := cmp.Diff(before, a.traces(t).withoutTables()); diff != "" {
					t.Errorf("left behind (-before +after):\n%s", diff)
				}
			})
		}
	}
}

// runBy runs a verb by a script. Its descriptor 3 is a pipe that nobody reads.
func (a attachment) runBy(t *testing.T, script, verb string) (status int) {
	t.Helper()
	cmd := a.host.Command("bash", "-c", script, filepath.Join(binDir, a.plugin))
	cmd.Stdin = strings.NewReader(a.stdin(t))
	cmd.Env = a.command(verb, "").Env
	cmd.ExtraFiles = []*os.File{nobody(t)}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}
