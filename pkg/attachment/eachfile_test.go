package attachment

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TestEachFile: files of any size are read as os.ReadFile reads them, whatever was read before.
func TestEachFile(t *testing.T) {
	dir := t.TempDir()
	want := map[string][]byte{}
	for i := range 60 {
		content := make([]byte, rand.IntN(1<<rand.IntN(18)))
		for j := range content {
			content[j] = byte(rand.Uint32())
		}
		name := strconv.Itoa(i)
		want[name] = content
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	last := ""
	err := eachFile(dir, func(name string) bool { return name != "7" }, func(name string, content []byte, err error) {
		if err != nil || !bytes.Equal(content, want[name]) || name <= last {
			t.Errorf("%s after %s: got %d bytes, %v, want %d", name, last, len(content), err, len(want[name]))
		}
		delete(want, name)
		last = name
	})
	if err != nil || len(want) != 1 || want["7"] == nil {
		t.Errorf("got %v, and not read: %d, want the one that was not chosen", err, len(want))
	}
	if err := eachFile(filepath.Join(dir, "none"), func(string) bool { return true }, nil); err != nil {
		t.Errorf("a directory that is not there: %v", err)
	}
	if _, err := appendFile(nil, unix.AT_FDCWD, filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that has gone: got %v", err)
	}
}
