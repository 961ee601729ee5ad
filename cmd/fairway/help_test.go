package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/golden"
	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// TestHelp holds what each command says of itself. A command says the same under Docker's name.
func TestHelp(t *testing.T) {
	for _, variable := range []string{"NETCONFPATH", "CNI_PATH", "CONTAINERD_ADDRESS"} {
		t.Setenv(variable, "") // which would be the defaults
	}
	s := newShell(t)
	for path := range commandPaths(newRoot(&env{})) {
		args := append(strings.Fields(path)[1:], "--help")
		got := s.succeed(t, args...)
		if _, below, ok := strings.Cut(path, " network "); ok {
			want := s.succeed(t, append(strings.Fields(below), "--help")...)
			if diff := cmp.Diff(want, strings.ReplaceAll(got, "fairway network "+below+" ", "fairway "+below+" ")); diff != "" {
				t.Errorf("%s (-fairway %s +got):\n%s", path, below, diff)
			}
			continue
		}
		golden.Compare(t, filepath.Join("help", strings.ReplaceAll(path, " ", "-")+".golden"), got)
	}
}

// commandPaths are those of a command and of all below it that help is offered for.
func commandPaths(cmd *cobra.Command) map[string]bool {
	paths := map[string]bool{cmd.CommandPath(): true}
	for _, below := range cmd.Commands() {
		if below.Hidden {
			continue
		}
		for path := range commandPaths(below) {
			paths[path] = true
		}
	}
	return paths
}
