package plugins

import (
	"debug/buildinfo"
	"path/filepath"
	"strings"
	"testing"
)

// TestStartReadsNoControlGroups looks at what a plugin's Go runtime is built to do before main: files of control groups, of the host's
// mounts among them, are read for no plugin.
func TestStartReadsNoControlGroups(t *testing.T) {
	all, err := filepath.Glob(filepath.Join(binDir, "*"))
	if err != nil || len(all) < 13 {
		t.Fatalf("%d plugins: %v", len(all), err)
	}
	for _, path := range all {
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var settings string
		for _, s := range info.Settings {
			if s.Key == "DefaultGODEBUG" {
				settings = s.Value
			}
		}
		for _, want := range []string{"containermaxprocs=0", "updatemaxprocs=0"} {
			if !strings.Contains(settings, want) {
				t.Errorf("%s is built with GODEBUG=%q, without %s", filepath.Base(path), settings, want)
			}
		}
	}
}
