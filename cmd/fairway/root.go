package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// newRoot makes the command `fairway` with all below it.
func newRoot(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "fairway",
		Short: "Container networks as Docker has them, on any CNI runtime",
		Long: `Container networks as Docker has them, on any CNI runtime.

A network is a conflist in the netconf directory, and a container's attachment is what its CNI runtime has recorded. So
networks made by hand, by nerdctl or by podman are seen here, and those made here are usable there. "fairway network ls"
is the same as "fairway ls", and so with the other commands.`,
		Example: `  fairway create --subnet 10.5.0.0/24 web     # a bridge network
  fairway ls                                  # all networks
  fairway rm web`,
		Args:          unknownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	e.addFlags(root)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), cobraUsage, ourUsage, 1))
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	addGroup(root, "Networks:", networkCommands(e))
	addGroup(root, "Containers:", append(containerCommands(e), newRun(e), newPs(e), newExec(e), newLogs(e), newStop(e), newResolve(e)))
	addGroup(root, "The host:", hostCommands(e))
	root.AddCommand(newNetwork(e), newMan(e))
	plainUseLines(root)
	return root
}

// A command that has others below does nothing by itself, of which cobra's template knows only when it cannot be run at all.
const (
	cobraUsage = `{{if .Runnable}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} [command]{{end}}`
	ourUsage = `{{if .HasAvailableSubCommands}}
  {{.CommandPath}} COMMAND{{else}}
  {{.UseLine}}{{end}}`
)

// networkCommands are those of `docker network` about a network.
func networkCommands(e *env) []*cobra.Command {
	return []*cobra.Command{newCreate(e), newInspect(e), newLs(e), newPrune(e), newRm(e)}
}

// containerCommands are those about a container on a network.
func containerCommands(e *env) []*cobra.Command {
	return []*cobra.Command{newConnect(e), newDisconnect(e), newPublish(e), newUnpublish(e)}
}

// hostCommands are those about the host as a whole. Docker has no such.
func hostCommands(e *env) []*cobra.Command {
	return []*cobra.Command{newDoctor(e), newGC(e), newInstall(e), newOverlay(e), newRepair(e), newTopology(e)}
}

// newNetwork makes `fairway network`, for fingers trained on `docker network`.
func newNetwork(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "network",
		Short: `The same commands under Docker's name: "fairway network ls"`,
		Args:  unknownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(networkCommands(e)...)
	cmd.AddCommand(containerCommands(e)...)
	return cmd
}

// addGroup adds commands under a title of the help.
func addGroup(root *cobra.Command, title string, commands []*cobra.Command) {
	if len(commands) == 0 {
		return
	}
	root.AddGroup(&cobra.Group{ID: title, Title: title})
	for _, cmd := range commands {
		cmd.GroupID = title
		root.AddCommand(cmd)
	}
}

// plainUseLines keeps cobra from adding its word for flags to the use lines, which have Docker's.
func plainUseLines(cmd *cobra.Command) {
	cmd.DisableFlagsInUseLine = true
	for _, below := range cmd.Commands() {
		plainUseLines(below)
	}
}
