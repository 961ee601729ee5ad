package plugins

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// addToNobody runs ADD with a standard output that nobody reads any more.
func (a attachment) addToNobody(t *testing.T) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	cmd := a.command("ADD", a.stdin(t))
	cmd.Stdout = writer
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("ADD: got %v, want exit status 1", err)
	}
}

// withoutTables is for comparing with a host where nothing has been attached yet: tables without an element, and the
// bridge, are the same for all containers, and remain.
func (s traces) withoutTables() traces {
	if !strings.Contains(s.Rules, "comment") {
		s.Rules = ""
	}
	return s
}
