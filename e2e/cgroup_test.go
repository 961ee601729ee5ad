package e2e

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// newCgroup names a control group for the containers of a test, below the root, where runtimes would leave theirs. It is
// removed with the test, with what a runtime leaves in it.
func newCgroup(t *testing.T) string {
	t.Helper()
	name := "fairway-e2e-" + strings.ToLower(rand.Text()[:8])
	t.Cleanup(func() {
		unified, _ := filepath.Glob("/sys/fs/cgroup/" + name) // the patterns are well-formed
		perController, _ := filepath.Glob("/sys/fs/cgroup/*/" + name)
		for _, dir := range append(unified, perController...) {
			if err := removeCgroup(dir); err != nil {
				t.Error(err)
			}
		}
	})
	return name
}

// removeCgroup removes a group and those in it. A group is busy as long as a process in it is ending, for five seconds at most.
func removeCgroup(root string) error {
	var dirs []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, dir := range slices.Backward(dirs) { // the inner ones were found after the outer ones
		err := os.Remove(dir)
		for start := time.Now(); errors.Is(err, syscall.EBUSY) && time.Since(start) < 5*time.Second; err = os.Remove(dir) {
			time.Sleep(20 * time.Millisecond)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
