package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fairway-cni/fairway/pkg/conflist"
)

func newInstall(e *env) *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use:   "install [OPTIONS] bridge|host|none...",
		Short: "Write predefined networks to the netconf directory",
		Long: `Write predefined networks to the netconf directory, for runtimes that look for networks there alone. They are not written
unless you ask, because ctr and a kubelet's runtime take the first file they find.`,
		Example: `  fairway install bridge               # ctr run --cni finds it
  fairway install --remove bridge      # fairway has it still`,
		Args:              arguments(1, len(conflist.PredefinedNames())),
		ValidArgsFunction: cobra.FixedCompletions(conflist.PredefinedNames(), cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range args {
				if !conflist.IsPredefined(name) {
					return usageError{fmt.Errorf("network %s is not predefined: choose bridge, host or none", name)}
				}
			}
			var errs []error
			for _, name := range args {
				errs = append(errs, install(cmd, e, name, remove))
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "remove the file that install has written")
	return cmd
}

// install writes the file, or removes it, and prints its name.
func install(cmd *cobra.Command, e *env, name string, remove bool) error {
	if remove {
		return e.host().Uninstall(name)
	}
	n, err := e.host().Install(cmd.Context(), name)
	if err != nil {
		return err
	}
	fmt.Fprintln(e.stdout, n.File)
	return nil
}
