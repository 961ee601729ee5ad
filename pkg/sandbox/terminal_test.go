package sandbox

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// screen is a person at a terminal.
type screen struct {
	terminal *os.File
	chunks   chan string
	seen     string
}

// newScreen starts a command as the first process of a session on a new terminal.
func newScreen(t *testing.T, cmd *exec.Cmd) *screen {
	t.Helper()
	terminal, line := testnet.Terminal(t)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = line, line, line
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err := cmd.Start()
	line.Close()
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{terminal: terminal, chunks: make(chan string)}
	go s.read()
	return s
}

func (s *screen) read() {
	defer close(s.chunks)
	buf := make([]byte, 4096)
	for {
		n, err := s.terminal.Read(buf)
		if err != nil {
			return // EIO: nobody has the terminal any more
		}
		s.chunks <- string(buf[:n])
	}
}

func (s *screen) write(t *testing.T, text string) {
	t.Helper()
	if _, err := s.terminal.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// expect reads until a text has appeared.
func (s *screen) expect(t *testing.T, text string) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		if _, after, ok := strings.Cut(s.seen, text); ok {
			s.seen = after
			return
		}
		select {
		case chunk, more := <-s.chunks:
			if !more {
				t.Fatalf("the terminal ended without %q: %q", text, s.seen)
			}
			s.seen += chunk
		case <-limit:
			t.Fatalf("the terminal shows no %q: %q", text, s.seen)
		}
	}
}

const (
	ctrlC = "\x03"
	ctrlZ = "\x1a"
)

// attentive says when it is interrupted, and when it goes on after a stop. (It starts nothing meanwhile: the kernel does not
// stop a shell that waits for its child to execute something.)
const attentive = `trap 'echo interrupted; exit 5' INT; trap 'echo going on' CONT
sleep 1000 & test -t 0 && echo ready; while :; do wait; done`

func TestInterrupt(t *testing.T) {
	cmd := newRun(t, shellSpec(attentive))
	s := newScreen(t, cmd)
	s.expect(t, "ready")
	s.write(t, ctrlC)
	s.expect(t, "interrupted")
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("got %v, want exit status 5", err)
	}
}

// TestJobControl stops the sandbox under a shell, uses the shell, and goes on.
func TestJobControl(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("bash", "--norc", "--noprofile", "-i")
	shell.Env = append(os.Environ(), "PS1=$ ", "PROGRAM="+program, "SPEC="+shellSpec(attentive).text(), "HISTFILE=", "TERM=dumb")
	s := newScreen(t, shell)
	s.write(t, `(exec -a `+nameRun+` "$PROGRAM" "$SPEC")`+"\n")
	s.expect(t, "ready")
	s.write(t, ctrlZ)
	s.expect(t, "Stopped")
	s.write(t, "echo mean''while\n")
	s.expect(t, "meanwhile")
	s.write(t, "fg\n")
	s.expect(t, "going on")
	s.write(t, ctrlC)
	s.expect(t, "interrupted")
	s.write(t, "echo status=$?; exit\n")
	s.expect(t, "status=5")
	if err := shell.Wait(); err != nil {
		t.Error(err)
	}
}

// TestShellInside: an interactive shell controls jobs of its own, and gives the terminal back.
func TestShellInside(t *testing.T) {
	s := runSpec{Spec: Spec{ID: "c1", Name: "web", Command: []string{"bash", "--norc", "--noprofile", "-i"},
		Env: []string{"PS1=inside ", "HISTFILE=", "TERM=dumb"}}}
	outer := exec.Command("sh", "-c", `"$PROGRAM" "$SPEC"; read line; echo "outside got $line"`)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := t.TempDir() + "/" + nameRun
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	outer.Env = append(os.Environ(), "PROGRAM="+link, "SPEC="+s.text())
	screen := newScreen(t, outer)
	screen.expect(t, "inside ")
	screen.write(t, `sh -c 'echo star""ted; exec sleep 1000'`+"\n")
	screen.expect(t, "started")
	screen.write(t, ctrlZ)
	screen.expect(t, "Stopped")
	screen.write(t, "disown; exit\n") // what is stopped ends with the sandbox
	screen.expect(t, "exit")
	screen.write(t, "hello\n")
	screen.expect(t, "outside got hello")
	if err := outer.Wait(); err != nil {
		t.Error(err)
	}
}
