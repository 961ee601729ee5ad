package conflist_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/conflist"
)

// TestUnreadableFiles: whatever lies in the directory, each such file is a warning, and the others are read. Nothing is waited for.
func TestUnreadableFiles(t *testing.T) {
	dir := t.TempDir()
	for name, make := range map[string]func(path string) error{
		"fifo.conflist":     func(path string) error { return unix.Mkfifo(path, 0o600) },
		"fifo.config-only":  func(path string) error { return unix.Mkfifo(path, 0o600) },
		"socket.conf":       func(path string) error { return unix.Mknod(path, unix.S_IFSOCK|0o600, 0) },
		"dir.conflist":      func(path string) error { return os.Mkdir(path, 0o755) },
		"dangling.conflist": func(path string) error { return os.Symlink("nowhere", path) },
		"loop.conflist":     func(path string) error { return os.Symlink("loop.conflist", path) },
		"endless.conflist":  func(path string) error { return os.Symlink("/dev/zero", path) },
		"empty.conflist":    func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"huge.conflist": func(path string) error {
			if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
				return err
			}
			return os.Truncate(path, 100<<20)
		},
	} {
		if err := make(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	good := `{"cniVersion": "1.1.0", "name": "good", "plugins": [{"type": "bridge"}]}`
	if err := os.WriteFile(filepath.Join(dir, "good.conflist"), []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	networks, err := conflist.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := networks.Find("good"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"fifo.conflist", "fifo.config-only", "socket.conf", "dir.conflist", "dangling.conflist", "loop.conflist", "endless.conflist", "empty.conflist", "huge.conflist"} {
		found := 0
		for _, warning := range networks.Warnings {
			if strings.Contains(warning.Error(), "/"+name) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%d warnings of %s: %v", found, name, networks.Warnings)
		}
	}
}
