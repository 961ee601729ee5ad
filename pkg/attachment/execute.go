package attachment

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
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

// pipes is for how long pipes are read and written beyond a plugin's end.
const pipes = 200 * time.Millisecond

// ExecPlugin runs a plugin and gives its standard output.
func (e *execution) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	for {
		cmd := exec.CommandContext(ctx, path)
		cmd.Env, cmd.Stdin, cmd.Stderr = environ, bytes.NewReader(stdin), e.stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
		cmd.WaitDelay = pipes
		stdout, err := run(cmd)
		switch {
		case err == nil, errors.Is(err, exec.ErrWaitDelay):
			return stdout, nil
		case errors.Is(err, syscall.ETXTBSY) && ctx.Err() == nil: // it is being installed
			time.Sleep(pipes)
			continue
		case ctx.Err() != nil:
			return nil, fmt.Errorf("%s: %w", path, context.Cause(ctx))
		}
		return nil, said(path, err, stdout)
	}
}

// run runs a command and gives all that it has written to its standard output. os/exec, which stops reading when its WaitDelay is over, may
// not have read anything by then on a host that is busy.
func run(cmd *exec.Cmd) (stdout []byte, err error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	cmd.Stdout = write
	err = cmd.Start()
	write.Close()
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	ended := make(chan struct{})
	go func() {
		_, _ = text.ReadFrom(read) // until its end, or the deadline
		close(ended)
	}()
	err = cmd.Wait()
	select {
	case <-ended:
	case <-time.After(pipes):
		_ = read.SetReadDeadline(time.Now()) // os.Pipe has deadlines
		<-ended
		text.Write(rest(read))
	}
	return text.Bytes(), err
}

// rest is what a pipe holds whose deadline is over.
func rest(pipe *os.File) []byte {
	const capacity = 64 << 10 // pipe(7)
	buf, n := make([]byte, capacity), 0
	raw, err := pipe.SyscallConn()
	if err == nil && pipe.SetReadDeadline(time.Time{}) == nil {
		_ = raw.Read(func(fd uintptr) (done bool) { // the descriptor does not block
			for {
				n, err = unix.Read(int(fd), buf)
				if !errors.Is(err, unix.EINTR) {
					return true
				}
			}
		})
	}
	return buf[:max(n, 0)]
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
