package driver

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// script writes an executable into a directory of plugins.
func script(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestPath(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	script(t, first, "ours", `echo "ours: CNI plugin of fairway v1, for a container runtime to run" >&2`)
	script(t, second, "other", `cat >/dev/null; [ "$CNI_COMMAND" = VERSION ] && echo '{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}'`)
	script(t, second, "ours", `exit 1`)
	script(t, second, "broken", `exit 1`)
	script(t, second, "killed", `kill -9 $$`)
	if err := os.WriteFile(filepath.Join(second, "README"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	p := Path{first, filepath.Join(first, "absent"), second}

	if versions, err := p.Versions(t.Context(), "other"); err != nil || !cmp.Equal(versions, []string{"0.4.0", "1.0.0"}) {
		t.Errorf("versions: got %v, %v", versions, err)
	}
	for _, name := range []string{"absent", "../ours", ""} {
		if _, err := p.Versions(t.Context(), name); !errors.Is(err, ErrNoPlugin) {
			t.Errorf("versions of %q: got %v, want %v", name, err, ErrNoPlugin)
		}
	}
	if _, err := p.Versions(t.Context(), "broken"); err == nil || errors.Is(err, ErrNoPlugin) {
		t.Errorf("versions of a plugin that fails: got %v", err)
	}
	for name, want := range map[string]bool{"ours": true, "other": false, "absent": false, "broken": false, "killed": false} {
		if got := p.Fairway(t.Context(), name); got != want {
			t.Errorf("Fairway(%s): got %v", name, got)
		}
		if _, err := p.Ask(t.Context(), name); (err != nil) != (name == "killed") {
			t.Errorf("Ask(%s): got %v", name, err)
		}
	}
	if diff := cmp.Diff([]string{"broken", "killed", "other", "ours"}, p.Types()); diff != "" {
		t.Errorf("types (-want +got):\n%s", diff)
	}
}
