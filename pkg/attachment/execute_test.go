package attachment

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// What a plugin leaves behind may keep its standard output open; what the plugin has written is there.
func TestOutputThatStaysOpen(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "sleep 600 & echo $!")
	stdout, err := run(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.CommandContext(t.Context(), "sh", "-c", "kill "+string(stdout)).Run(); err != nil {
		t.Errorf("printed %q: %v", stdout, err)
	}
}

// Who had no time to read a pipe reads it when its time is over.
func TestRest(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	_, err = write.WriteString("answer")
	if err := errors.Join(err, read.SetReadDeadline(time.Unix(1, 0))); err != nil {
		t.Fatal(err)
	}
	if n, err := io.ReadFull(read, make([]byte, 6)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	for _, want := range []string{"answer", ""} {
		if got := string(rest(read)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
