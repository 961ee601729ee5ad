package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestManPages: every command has a page, and a page tells nothing of the machine it was written on.
func TestManPages(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1767225600")
	t.Setenv("NETCONFPATH", "/somewhere/else")
	dir := filepath.Join(t.TempDir(), "man1")
	newShell(t).succeed(t, "man", dir)
	want := map[string]bool{"fairway.1": true, "fairway-network.1": true, "fairway-overlay-forget.1": true, "fairway-overlay-genkey.1": true}
	for _, cmd := range newRoot(&env{}).Commands() {
		if !cmd.Hidden {
			want["fairway-"+cmd.Name()+".1"] = true
		}
	}
	got := map[string]bool{}
	pages, err := filepath.Glob(dir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		if name := filepath.Base(page); !strings.HasPrefix(name, "fairway-completion") {
			got[name] = true
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "Jan 2026") || strings.Contains(string(text), "/somewhere") {
			t.Errorf("%s:\n%s", page, text)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
}

func TestEveryCommandHasAnExample(t *testing.T) {
	for _, cmd := range newRoot(&env{}).Commands() {
		if cmd.Example == "" && !cmd.Hidden && cmd.Name() != "network" {
			t.Errorf("fairway %s --help has no example", cmd.Name())
		}
	}
}

func TestCompletionScripts(t *testing.T) {
	s := newShell(t)
	for _, shellName := range []string{"bash", "zsh", "fish"} {
		script := s.succeed(t, "completion", shellName)
		if !strings.Contains(script, "__complete") {
			t.Errorf("%s: got %q", shellName, script)
		}
		if shellName != "bash" {
			continue // the others are not installed for tests
		}
		check := exec.Command("bash", "-n")
		check.Stdin = strings.NewReader(script)
		if said, err := check.CombinedOutput(); err != nil {
			t.Errorf("bash -n: %v\n%s", err, said)
		}
	}
}
