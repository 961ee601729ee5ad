package conflist

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lamp.conflist")
	write := func(name string) {
		t.Helper()
		content := `{"cniVersion": "1.0.0", "name": "` + name + `", "plugins": [{"type": "bridge", "bridge": "br7"}]}`
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Again(file, "lamp"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no file: got %v, want ErrNotFound", err)
	}
	write("lamp")
	if n, err := Again(file, "lamp"); err != nil || n.Link != "br7" || n.File != file {
		t.Errorf("got %+v, %v", n, err)
	}
	write("other")
	if _, err := Again(file, "lamp"); !errors.Is(err, ErrNotFound) {
		t.Errorf("another network's file: got %v, want ErrNotFound", err)
	}
	if n, err := Again("", "bridge"); err != nil || n.Name != "bridge" {
		t.Errorf("predefined: got %+v, %v", n, err)
	}
}
