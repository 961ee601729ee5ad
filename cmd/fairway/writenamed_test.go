package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What a user names is never replaced by something else than it is.
func TestWriteNamed(t *testing.T) {
	const text = "a picture"
	read := func(t *testing.T, path string) {
		t.Helper()
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	kind := func(t *testing.T, path string) os.FileMode {
		t.Helper()
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode()
	}
	for name, test := range map[string]func(t *testing.T, path string){
		"new file": func(t *testing.T, path string) {
			if err := writeNamed(path, []byte(text)); err != nil {
				t.Error(err)
			}
			read(t, path)
		},
		"file": func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("a longer text than the picture"), 0o640); err != nil {
				t.Fatal(err)
			}
			if err := writeNamed(path, []byte(text)); err != nil {
				t.Error(err)
			}
			read(t, path)
			if mode := kind(t, path); mode != 0o640 {
				t.Errorf("mode %v", mode)
			}
		},
		"file of two names": func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("a longer text than the picture"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Link(path, path+"2"); err != nil {
				t.Fatal(err)
			}
			if err := writeNamed(path, []byte(text)); err != nil {
				t.Error(err)
			}
			read(t, path+"2")
		},
		"link to a file":    func(t *testing.T, path string) { viaLink(t, path, path+".target", true) },
		"link to no file":   func(t *testing.T, path string) { viaLink(t, path, filepath.Base(path)+".target", false) },
		"link to a device":  func(t *testing.T, path string) { viaLink(t, path, "/dev/null", false) },
		"descriptor":        toDescriptor,
		"device and pipe":   func(t *testing.T, path string) { toPipe(t, path) },
		"directory refused": refusesDirectory,
	} {
		t.Run(name, func(t *testing.T) { test(t, filepath.Join(t.TempDir(), "picture")) })
	}
	if mode := kind(t, "/dev/null"); mode&os.ModeCharDevice == 0 {
		t.Errorf("/dev/null is %v now", mode)
	}
}

func viaLink(t *testing.T, path, target string, exists bool) {
	t.Helper()
	if exists {
		if err := os.WriteFile(target, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	if err := writeNamed(path, []byte("a picture")); err != nil {
		t.Error(err)
	}
	if got, err := os.Readlink(path); err != nil || got != target {
		t.Errorf("the link leads to %q, %v", got, err)
	}
	if got, err := os.ReadFile(path); err != nil || target != "/dev/null" && string(got) != "a picture" {
		t.Errorf("written: %q, %v", got, err)
	}
}

func toPipe(t *testing.T, path string) {
	t.Helper()
	if err := writeNamed("/dev/null", []byte("a picture")); err != nil {
		t.Error(err)
	}
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() {
		text, _ := os.ReadFile(path) // compared below
		got <- string(text)
	}()
	if err := writeNamed(path, []byte("a picture")); err != nil {
		t.Error(err)
	}
	if text := <-got; text != "a picture" {
		t.Errorf("through the pipe: %q", text)
	}
}

func refusesDirectory(t *testing.T, path string) {
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeNamed(path, []byte("a picture")); err == nil || err.Error() != path+": is a directory" {
		t.Errorf("got %v", err)
	}
}

// toDescriptor writes to a pipe without a name, as /dev/stdout often is.
func toDescriptor(t *testing.T, path string) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(fmt.Sprintf("/proc/self/fd/%d", w.Fd()), path); err != nil {
		t.Fatal(err)
	}
	if err := writeNamed(path, []byte("a picture")); err != nil {
		t.Error(err)
	}
	w.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != "a picture" {
		t.Errorf("through the descriptor: %q, %v", got, err)
	}
}
