package attachment

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sys/unix"
)

// execution executes plugins as libcni does, but for an end in time: what a plugin has started ends with it, and a pipe that something
// holds open is not waited for.
type execution struct {
	version.PluginDecoder
	stderr io.Writer
}

var _ invoke.Exec = &execution{}

// FindInPath is libcni's.
func (*execution) FindInPath(plugin string, paths []string) (string, error) {
	return invoke.FindInPath(plugin, paths)
}

// ExecPlugin runs a plugin and gives its standard output.
func (e *execution) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	const pipes = 200 * time.Millisecond // beyond the plugin's end
	var stdout bytes.Buffer
	for {
		cmd := exec.CommandContext(ctx, path)
		cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = environ, bytes.NewReader(stdin), &stdout, e.stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
		cmd.WaitDelay = pipes
		err := cmd.Run()
		switch {
		case err == nil, errors.Is(err, exec.ErrWaitDelay):
			return stdout.Bytes(), nil
		case errors.Is(err, syscall.ETXTBSY) && ctx.Err() == nil: // it is being installed
			stdout.Reset()
			time.Sleep(pipes)
			continue
		case ctx.Err() != nil:
			return nil, fmt.Errorf("%s: %w", path, context.Cause(ctx))
		}
		return nil, said(path, err, stdout.Bytes())
	}
}

// said is what a plugin that failed has printed, as CNI has it.
func said(path string, err error, stdout []byte) error {
	var printed types.Error
	if len(stdout) == 0 {
		return fmt.Errorf("%s: %w, and printed no error", path, err)
	}
	if json.Unmarshal(stdout, &printed) != nil || printed.Msg == "" && printed.Code == 0 {
		return fmt.Errorf("%s: %w: %s", path, err, strings.TrimSpace(string(stdout)))
	}
	return &printed
}
