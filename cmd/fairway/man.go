package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newMan makes the hidden command by which `make install` writes the man pages.
func newMan(e *env) *cobra.Command {
	return &cobra.Command{
		Use:    "man DIRECTORY",
		Short:  "Write the man pages",
		Hidden: true,
		Args:   arguments(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			return writeManPages(e, args[0])
		},
	}
}

// writeManPages writes a page for each command, but not twice for those under Docker's name. The date is that of
// SOURCE_DATE_EPOCH (https://reproducible-builds.org), or today's.
func writeManPages(e *env, dir string) error {
	for _, variable := range []string{"NETCONFPATH", "CNI_PATH", "CONTAINERD_ADDRESS"} {
		if err := os.Unsetenv(variable); err != nil { // the pages tell the defaults of any machine
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root := newRoot(&env{stdin: e.stdin, stdout: e.stdout, stderr: e.stderr})
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "network" {
			cmd.RemoveCommand(cmd.Commands()...)
		}
	}
	root.DisableAutoGenTag = true
	header := &doc.GenManHeader{Section: "1", Source: "fairway " + version, Manual: "Container networks"}
	if err := doc.GenManTree(root, header, dir); err != nil {
		return fmt.Errorf("man pages: %w", err)
	}
	return nil
}
