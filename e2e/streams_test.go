package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestStreamsEndNoCommand: a command that changes something does so to the end, whoever reads what it says. A damaged record makes
// commands say something before they begin.
func TestStreamsEndNoCommand(t *testing.T) {
	createNetwork(t, "--subnet", "10.76.0.0/24", "lamp")
	for name, script := range map[string]string{
		"nobody reads": `exec "$0" "$@" >&3 2>&3`,
		"closed":       `exec "$0" "$@" >&- 2>&-`,
		"full":         `exec "$0" "$@" >/dev/full 2>&1`,
	} {
		t.Run(name, func(t *testing.T) {
			box := testnet.NewNS(t, "box")
			ref := "netns:" + box.Path
			links := func() string { return box.Sh(t, "ip", "-o", "link") }
			networks := func() string {
				return succeed(t, fairway(t, "ls", "--filter", "driver=bridge", "--format", "{{.Name}}"))
			}
			ports := func() string { return succeed(t, command(t, "nft", "list", "ruleset")) }
			for _, step := range []struct {
				args []string
				look func() string
				want string // that is there afterwards; of "!…" that is not
			}{
				{[]string{"create", "--subnet", "10.77.0.0/24", "back"}, networks, "back\n"},
				{[]string{"connect", "lamp", ref}, links, " eth0@"},
				{[]string{"publish", ref, "9000:80"}, ports, "9000 "},
				{[]string{"repair"}, ports, "9000 "},
				{[]string{"unpublish", ref, "9000:80"}, ports, "!9000 "},
				{[]string{"disconnect", "lamp", ref}, links, "!eth0@"},
				{[]string{"run", "--network", "lamp", "true"}, func() string { return strings.Join(reservations(t, "lamp"), " ") }, "!10.76"},
				{[]string{"gc"}, networks, "back\n"},
				{[]string{"rm", "no-such-network", "back"}, networks, "!back\n"},
				{[]string{"create", "--subnet", "10.77.0.0/24", "back"}, networks, "back\n"},
				{[]string{"connect", "lamp", ref}, links, " eth0@"}, // lamp is in use
				{[]string{"prune", "-f"}, networks, "!back\n"},
				{[]string{"disconnect", "lamp", ref}, links, "!eth0@"},
			} {
				leaveDamagedRecord(t, "lamp")
				leaveDamagedRecord(t, "back")
				unread(t, script, step.args...)
				want, absent := strings.CutPrefix(step.want, "!")
				if got := step.look(); strings.Contains(got, want) == absent {
					t.Errorf("fairway %s: there is %q, want %q", strings.Join(step.args, " "), got, step.want)
				}
			}
		})
	}
}

// leaveDamagedRecord leaves the half of a record that a killed runtime has written some time ago.
func leaveDamagedRecord(t *testing.T, network string) {
	t.Helper()
	const results = "/var/lib/cni/results"
	path := filepath.Join(results, network+"-gone-eth0")
	before := time.Now().Add(-time.Hour)
	if err := errors.Join(os.MkdirAll(results, 0o700), os.WriteFile(path, []byte("{"), 0o600), os.Chtimes(path, before, before)); err != nil {
		t.Fatal(err)
	}
}

// unread runs fairway by a script, whose descriptor 3 is a pipe that nobody reads. It ends by itself.
func unread(t *testing.T, script string, args ...string) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	reader.Close() // which is the point
	limited := fairway(t, args...)
	cmd := command(t, "bash", append([]string{"-c", script, limited.Path}, args...)...)
	cmd.Env, cmd.ExtraFiles = limited.Env, []*os.File{writer}
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || !exit.Exited()) {
		t.Errorf("fairway %s: %v", strings.Join(args, " "), err)
	}
}
