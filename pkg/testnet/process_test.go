package testnet

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestProcess(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p, err := Start(exec.Command("sh", "-c", "echo one; echo two >&2; exec sleep infinity"))
	must(t, err)
	must(t, p.Await(ctx, "two"))
	if got := p.Log(); got != "one\ntwo\n" {
		t.Errorf("log %q", got)
	}
	over, end := context.WithCancel(ctx)
	end()
	if err := p.Await(over, "three"); err == nil || !strings.Contains(err.Error(), `has not said "three" in time`) {
		t.Errorf("a text that does not come: error %v", err)
	}
	must(t, p.Stop(unix.SIGTERM))
	must(t, p.Stop(unix.SIGTERM)) // it has ended before

	p, err = Start(exec.Command("sh", "-c", "echo last words; exit 3"))
	must(t, err)
	if err := p.Await(ctx, "ready"); err == nil || !strings.Contains(err.Error(), "ended (exit status 3)") || !strings.Contains(err.Error(), "last words") {
		t.Errorf("a daemon that ends: error %v", err)
	}
	if _, err := Start(exec.Command("/no-such-program")); err == nil {
		t.Error("no such program: no error")
	}
}

// The log of a daemon that outlives programs is a file, which is added to.
func TestProcessUntilDown(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	log := filepath.Join(t.TempDir(), "log")
	must(t, os.WriteFile(log, []byte("ready\n"), 0o600))
	p, err := UntilDown.start(exec.Command("sh", "-c", "echo begun; exec sleep infinity"), log)
	must(t, err)
	defer func() { must(t, p.Stop(unix.SIGKILL)) }()
	must(t, p.Await(ctx, "begun"))
	if strings.Contains(p.Log(), "ready") {
		t.Error("its log has what another has said")
	}
	if text, err := os.ReadFile(log); err != nil || string(text) != "ready\nbegun\n" {
		t.Errorf("file %q, %v", text, err)
	}
	if session, err := unix.Getsid(p.Pid()); err != nil || session != p.Pid() {
		t.Errorf("session %d, %v; want one of its own", session, err)
	}
}
