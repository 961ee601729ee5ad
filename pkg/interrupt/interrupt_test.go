package interrupt

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const child = "INTERRUPT_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(child) != "" {
		wait()
	}
	os.Exit(m.Run())
}

// wait says that it is there, and how it ended.
func wait() {
	signals := []os.Signal{unix.SIGINT, unix.SIGHUP}
	if os.Getenv(child) == "all" {
		signals = append(signals, unix.SIGTERM)
	}
	ctx, stop := Context(context.Background(), signals...)
	defer stop()
	_, _ = os.Stdout.WriteString("ready\n")
	select {
	case <-ctx.Done():
		_, _ = os.Stdout.WriteString("interrupted\n")
	case <-time.After(time.Second):
	}
	os.Exit(0)
}

// What the caller ignores does not interrupt; what it does not ignore does.
func TestContext(t *testing.T) {
	for _, test := range []struct {
		ignored, asked string
		sent           unix.Signal
		ends           bool
	}{
		{"", "all", unix.SIGINT, true}, {"", "all", unix.SIGTERM, true}, {"INT", "all", unix.SIGTERM, true}, {"HUP", "all", unix.SIGINT, true},
		{"INT", "all", unix.SIGINT, false}, {"HUP INT", "all", unix.SIGHUP, false}, {"HUP INT", "all", unix.SIGTERM, true},
		{"HUP INT", "some", unix.SIGINT, false}, {"HUP INT", "some", unix.SIGHUP, false},
	} {
		t.Run(test.ignored+" "+test.asked+" "+test.sent.String(), func(t *testing.T) {
			t.Parallel()
			trap := "true"
			if test.ignored != "" {
				trap = "trap '' " + test.ignored
			}
			cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", trap+`; exec "$0"`, os.Args[0])
			cmd.Env = append(os.Environ(), child+"="+test.asked)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			buffer := make([]byte, 64)
			for n, err := out.Read(buffer); err == nil; n, err = out.Read(buffer) {
				if said.Len() == 0 {
					_ = cmd.Process.Signal(test.sent) // it runs
				}
				said.Write(buffer[:n])
			}
			if err := cmd.Wait(); err != nil || strings.Contains(said.String(), "interrupted") != test.ends {
				t.Errorf("said %q, %v, want interrupted %v", said.String(), err, test.ends)
			}
		})
	}
}
