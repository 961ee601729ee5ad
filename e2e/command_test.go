package e2e

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// commandLimit bounds every program that a test runs; none of them takes a tenth of it.
const commandLimit = 60 * time.Second

// command prepares a program that is killed when it takes longer than commandLimit.
func command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = commandLimit / 2 // from its end on; on a busy host what it has printed is read late
	return cmd
}

// commandIn prepares a program that runs in the network namespace bound to path.
func commandIn(t testing.TB, path, name string, args ...string) *exec.Cmd {
	t.Helper()
	return command(t, "nsenter", append([]string{"--net=" + path, "--", name}, args...)...)
}

// succeed runs a command and gives back what it printed on stdout. When the command fails, the test ends with all it said.
func succeed(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	stdout, stderr, err := run(cmd)
	if err != nil {
		t.Fatalf("%s: %v\nstdout: %s\nstderr: %s", strings.Join(cmd.Args, " "), err, stdout, stderr)
	}
	return stdout
}

// fail runs a command that has to fail and gives back all it said.
func fail(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	stdout, stderr, err := run(cmd)
	if err == nil {
		t.Fatalf("%s: got success, want an error\nstdout: %s\nstderr: %s", strings.Join(cmd.Args, " "), stdout, stderr)
	}
	return stdout + stderr
}

func run(cmd *exec.Cmd) (stdout, stderr string, err error) {
	var outBuf, errBuf bytes.Buffer
	cmd.Stdout, cmd.Stderr = &outBuf, &errBuf
	err = cmd.Run()
	return outBuf.String(), errBuf.String(), err
}

// ping expects an answer to one echo request, sent from the namespace bound to path, within three seconds.
func ping(t testing.TB, path, address string) {
	t.Helper()
	succeed(t, commandIn(t, path, "busybox", "ping", "-c", "1", "-w", "3", address))
}
